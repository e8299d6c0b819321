//! Pages of products as JSON. A page is made anew if the catalogue, or a stock on the page, is not the same as for the last answer.

use std::cell::RefCell;
use std::sync::Arc;

use bytes::Bytes;
use shop_model::ProductPage;
use web::StoreError;

use crate::catalogue::{Catalogue, Entry};
use crate::repository::{Repository, StockValues, bytes, product, stock_key};

/// The most pages that an instance keeps. A page has 100 kB at most.
const MAX_KEPT: usize = 8;

thread_local! {
    /// The pages that were answered last, the latest at the end.
    static KEPT: RefCell<Vec<Page>> = const { RefCell::new(Vec::new()) };
}

/// Which products a page has.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Selection {
    /// Words that a product has.
    pub(crate) query: String,
    pub(crate) category: Option<String>,
    /// From 1.
    pub(crate) page: u32,
    pub(crate) per_page: u32,
}

impl Selection {
    /// The products of the page, and how many all pages have.
    fn of<'a>(&self, catalogue: &'a Catalogue) -> (Vec<&'a Entry>, u32) {
        let found = catalogue.search(&self.query, self.category.as_deref());
        let total = u32::try_from(found.len()).unwrap_or(u32::MAX);
        let skipped = (u64::from(self.page) - 1).saturating_mul(u64::from(self.per_page));
        let skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
        (found.into_iter().skip(skipped).take(self.per_page as usize).collect(), total)
    }
}

/// The page of `selection` as JSON.
pub(crate) fn body(selection: Selection, repository: &Repository) -> Result<Bytes, StoreError> {
    let catalogue = repository.catalogue()?;
    let kept = KEPT.with_borrow_mut(|pages| {
        let at = pages.iter().position(|page| page.selection == selection)?;
        Some(pages.remove(at))
    });
    let page = match kept {
        Some(page) if Arc::ptr_eq(&page.catalogue, &catalogue) => page.renewed(repository)?,
        _ => Page::new(selection, catalogue, repository)?,
    };
    let body = page.body.clone();
    KEPT.with_borrow_mut(|pages| {
        if pages.len() >= MAX_KEPT {
            pages.remove(0);
        }
        pages.push(page);
    });
    Ok(body)
}

/// A page, and what it was made of.
struct Page {
    selection: Selection,
    catalogue: Arc<Catalogue>,
    /// Of the stocks.
    keys: Vec<String>,
    stocks: StockValues,
    body: Bytes,
}

impl Page {
    fn new(
        selection: Selection,
        catalogue: Arc<Catalogue>,
        repository: &Repository,
    ) -> Result<Self, StoreError> {
        let keys: Vec<_> = selection.of(&catalogue).0.iter().map(|entry| stock_key(&entry.id)).collect();
        let stocks = repository.stocks(&keys)?;
        Self { selection, catalogue, keys, stocks, body: Bytes::new() }.filled()
    }

    /// With the stocks that the store has now.
    fn renewed(mut self, repository: &Repository) -> Result<Self, StoreError> {
        let stocks = repository.stocks(&self.keys)?;
        if stocks.is_same(&self.stocks) {
            return Ok(self);
        }
        self.stocks = stocks;
        self.filled()
    }

    /// With the body for its catalogue and its stocks.
    fn filled(mut self) -> Result<Self, StoreError> {
        let stocks = self.stocks.parse(&self.keys)?;
        let (entries, total) = self.selection.of(&self.catalogue);
        let page = ProductPage {
            data: entries.iter().zip(&stocks).map(|(entry, stock)| product(entry, stock)).collect(),
            page: self.selection.page,
            per_page: self.selection.per_page,
            total,
            categories: self.catalogue.categories(),
        };
        self.body = bytes(&page)?.into();
        Ok(self)
    }
}
