//! The catalogue and the stock in the key-value store.

use std::cell::RefCell;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use shop_model::{
    Hold, HoldPage, Line, Outcome, PricedLine, Product, ProductId, Refusal, Reservation, Reserve, Settlement,
    total,
};
use web::{Platform, Problem, Store, StoreError, replace_with};

use crate::catalogue::{Catalogue, Change, Entry, InvalidEntry};
use crate::holds::{NotReserved, Reserved, Stock};
use crate::seed;

const CATALOGUE: &str = "catalogue";
/// How often a compare-and-swap is tried. Each vain attempt means that another request succeeded.
const ATTEMPTS: u32 = 200;
/// The most stale holds of one answer.
const MAX_HOLD_PAGE: usize = 100;

thread_local! {
    /// The catalogue that was read last, and what was read. Parsing it takes longer than all else of most requests.
    static LAST_READ: RefCell<Option<(Vec<u8>, Arc<Catalogue>)>> = const { RefCell::new(None) };
}

pub(crate) struct Repository {
    store: Arc<dyn Store>,
    /// Since the Unix epoch, in milliseconds.
    now: u64,
}

/// Why a change was not made.
pub(crate) enum Failure {
    Store(StoreError),
    /// The change needs none: the key is as it should be.
    Unchanged,
    Invalid(InvalidEntry),
    NotReserved(NotReserved),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Repository {
    pub(crate) fn open(platform: &Platform) -> Result<Self, Problem> {
        let name = platform.setting_or("store", "default".to_owned())?;
        let now = u64::try_from(platform.unix_time().as_millis()).unwrap_or(u64::MAX);
        Ok(Self { store: platform.store(&name)?, now })
    }

    /// The catalogue. A store without one gets the products of a new shop.
    pub(crate) fn catalogue(&self) -> Result<Arc<Catalogue>, StoreError> {
        if let Some(catalogue) = self.read_catalogue()? {
            return Ok(catalogue);
        }
        let products: Vec<_> = seed::products().into_iter().map(seed::NewProduct::split).collect();
        // The stock comes first, so that a crash in between leaves no product without stock.
        for (entry, free) in &products {
            self.store.compare_and_swap(&stock_key(&entry.id), None, &bytes(&Stock::of(*free))?)?;
        }
        let catalogue = Catalogue::of(products.into_iter().map(|(entry, _)| entry).collect());
        self.store.compare_and_swap(CATALOGUE, None, &bytes(&catalogue)?)?;
        // Another request may have been first, and its catalogue may have changed since.
        Ok(self.read_catalogue()?.unwrap_or_else(|| Arc::new(catalogue)))
    }

    fn read_catalogue(&self) -> Result<Option<Arc<Catalogue>>, StoreError> {
        let Some(value) = self.store.get(CATALOGUE)? else { return Ok(None) };
        let unchanged = LAST_READ.with_borrow(|last| match last {
            Some((read, catalogue)) if is_same(read, &value) => Some(Arc::clone(catalogue)),
            _ => None,
        });
        if unchanged.is_some() {
            return Ok(unchanged);
        }
        let catalogue = parse(CATALOGUE, Some(&value))?.map(Arc::new);
        LAST_READ.set(catalogue.clone().map(|catalogue| (value, catalogue)));
        Ok(catalogue)
    }

    pub(crate) fn stock(&self, product: &ProductId) -> Result<Stock, StoreError> {
        Ok(self.read(&stock_key(product))?.unwrap_or_default())
    }

    /// A product as clients see it.
    pub(crate) fn product(&self, entry: &Entry) -> Result<Product, StoreError> {
        Ok(product(entry, &self.stock(&entry.id)?))
    }

    /// The values of `keys`, by one read of the store.
    pub(crate) fn stocks(&self, keys: &[String]) -> Result<StockValues, StoreError> {
        Ok(StockValues(self.store.get_many(keys)?))
    }

    /// Adds a product. Its stock is set first: a crash in between leaves a stock that nobody sees.
    pub(crate) fn add(&self, entry: &Entry, free: u32) -> Result<(), Failure> {
        let mut checked = Catalogue::clone(&*self.catalogue()?);
        checked.add(entry.clone()).map_err(Failure::Invalid)?;
        self.set_stock(&entry.id, free)?;
        self.change_catalogue(|catalogue| catalogue.add(entry.clone()))
    }

    pub(crate) fn change(&self, product: &ProductId, change: &Change) -> Result<Entry, Failure> {
        let mut changed = Err(Failure::Unchanged);
        self.change_catalogue(|catalogue| {
            changed = Ok(catalogue.change(product, change)?);
            Ok(())
        })?;
        changed
    }

    /// Sets the number of items that can be reserved.
    pub(crate) fn set_stock(&self, product: &ProductId, free: u32) -> Result<(), Failure> {
        self.change_stock(product, |stock| {
            stock.set(free);
            Ok(())
        })
    }

    /// Reserves all lines, or none.
    pub(crate) fn reserve(&self, wanted: &Reserve) -> Result<Reservation, StoreError> {
        let catalogue = self.catalogue()?;
        let lines = wanted.lines.as_slice();
        let mut priced = Vec::with_capacity(lines.len());
        for Line { product, quantity } in lines {
            let Some(entry) = catalogue.get(product) else {
                return Ok(refused(Refusal::UnknownProduct { product: product.clone() }));
            };
            let (name, unit_price) = (entry.name.clone(), entry.price);
            priced.push(PricedLine { product: product.clone(), name, quantity: *quantity, unit_price });
        }
        if total(&priced).is_none() {
            return Ok(refused(Refusal::NoTotal));
        }
        for (done, line) in lines.iter().enumerate() {
            let mut seen = Stock::default();
            let reserved = self.change_stock(&line.product, |stock| {
                seen.clone_from(stock);
                match stock.reserve(&wanted.order, wanted.attempt, line.quantity, self.now) {
                    Ok(Reserved::Changed) => Ok(()),
                    Ok(Reserved::Unchanged) => Err(Failure::Unchanged),
                    Err(why) => Err(Failure::NotReserved(why)),
                }
            });
            let outcome = match reserved {
                Ok(()) | Err(Failure::Unchanged | Failure::Invalid(_)) => continue,
                Err(Failure::Store(error)) => Err(error),
                Err(Failure::NotReserved(why)) => Ok(self.not_reserved(why, line, &seen, wanted.stale_after)),
            };
            for line in lines.iter().take(done) {
                self.settle_line(&wanted.order, wanted.attempt, &line.product, Outcome::Released)?;
            }
            return outcome;
        }
        Ok(Reservation::Reserved { lines: priced })
    }

    fn not_reserved(&self, why: NotReserved, line: &Line, seen: &Stock, stale_after: u64) -> Reservation {
        let product = line.product.clone();
        match why {
            NotReserved::OutOfStock => {
                let (requested, available) = (line.quantity, seen.free);
                refused(Refusal::OutOfStock { product, requested, available })
            }
            NotReserved::Contended => {
                let stale = seen.stale(&line.product, self.now.saturating_sub(stale_after)).collect();
                Reservation::Contended { product, stale }
            }
            NotReserved::Superseded => Reservation::Superseded,
        }
    }

    /// Ends an order's holds.
    pub(crate) fn settle(&self, settlement: &Settlement) -> Result<(), StoreError> {
        let Settlement { order, attempt, lines, outcome } = settlement;
        lines
            .as_slice()
            .iter()
            .try_for_each(|line| self.settle_line(order, *attempt, &line.product, *outcome))
    }

    fn settle_line(
        &self,
        order: &shop_model::OrderId,
        attempt: u32,
        product: &ProductId,
        outcome: Outcome,
    ) -> Result<(), StoreError> {
        let settled = self.change_stock(product, |stock| {
            if stock.settle(order, attempt, outcome) { Ok(()) } else { Err(Failure::Unchanged) }
        });
        match settled {
            Err(Failure::Store(error)) => Err(error),
            _ => Ok(()),
        }
    }

    /// Holds that are older than `stale_after` milliseconds, of all products.
    pub(crate) fn stale(&self, stale_after: u64) -> Result<HoldPage, StoreError> {
        let mut data: Vec<Hold> = Vec::new();
        let before = self.now.saturating_sub(stale_after);
        let catalogue = self.catalogue()?;
        let keys: Vec<_> = catalogue.products.iter().map(|entry| stock_key(&entry.id)).collect();
        let stocks = self.stocks(&keys)?.parse(&keys)?;
        for (entry, stock) in catalogue.products.iter().zip(&stocks) {
            data.extend(stock.stale(&entry.id, before));
            if data.len() >= MAX_HOLD_PAGE {
                data.truncate(MAX_HOLD_PAGE);
                return Ok(HoldPage { data, more: true });
            }
        }
        Ok(HoldPage { data, more: false })
    }

    fn change_catalogue(
        &self,
        mut change: impl FnMut(&mut Catalogue) -> Result<(), InvalidEntry>,
    ) -> Result<(), Failure> {
        self.catalogue()?;
        replace_with(&*self.store, CATALOGUE, ATTEMPTS, |current| {
            let mut catalogue = parse(CATALOGUE, current)?.unwrap_or_default();
            change(&mut catalogue).map_err(Failure::Invalid)?;
            Ok(bytes(&catalogue)?)
        })
    }

    fn change_stock(
        &self,
        product: &ProductId,
        mut change: impl FnMut(&mut Stock) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let key = stock_key(product);
        replace_with(&*self.store, &key, ATTEMPTS, |current| {
            let mut stock = parse(&key, current)?.unwrap_or_default();
            change(&mut stock)?;
            Ok(bytes(&stock)?)
        })
    }

    fn read<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, StoreError> {
        parse(key, self.store.get(key)?.as_deref())
    }
}

/// The stocks of some products as the store has them.
pub(crate) struct StockValues(Vec<Option<Vec<u8>>>);

impl StockValues {
    /// The stocks, if these are the values of `keys`.
    pub(crate) fn parse(&self, keys: &[String]) -> Result<Vec<Stock>, StoreError> {
        let stocks = keys.iter().zip(&self.0).map(|(key, value)| parse(key, value.as_deref()));
        stocks.map(|stock| Ok(stock?.unwrap_or_default())).collect()
    }

    /// Whether both have the same values.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let is_same_value = |pair| match pair {
            (Some(a), Some(b)) => is_same(a, b),
            (a, b) => a == b,
        };
        let mut pairs = self.0.iter().map(Option::as_deref).zip(other.0.iter().map(Option::as_deref));
        self.0.len() == other.0.len() && pairs.all(is_same_value)
    }
}

/// A product as clients see it.
pub(crate) fn product(entry: &Entry, stock: &Stock) -> Product {
    let Entry { id, name, description, category, price } = entry.clone();
    Product { id, name, description, category, price, stock: stock.free }
}

/// Whether both have the same bytes. `==` calls `memcmp`, which compares single bytes in WebAssembly's C library.
fn is_same(a: &[u8], b: &[u8]) -> bool {
    let ((a_blocks, a_rest), (b_blocks, b_rest)) = (a.as_chunks::<32>(), b.as_chunks::<32>());
    let differ = |a: &[u8; 32], b: &[u8; 32]| {
        let words = a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0);
        words.fold(0, |bits, (a, b)| bits | (u64::from_ne_bytes(*a) ^ u64::from_ne_bytes(*b)))
    };
    a.len() == b.len() && a_blocks.iter().zip(b_blocks).all(|(a, b)| differ(a, b) == 0) && a_rest == b_rest
}

/// The key of a product's stock.
pub(crate) fn stock_key(product: &ProductId) -> String {
    format!("stock/{product}")
}

fn refused(reason: Refusal) -> Reservation {
    Reservation::Refused { reason }
}

fn parse<T: DeserializeOwned>(key: &str, value: Option<&[u8]>) -> Result<Option<T>, StoreError> {
    let parse = |value| serde_json::from_slice(value);
    value
        .map(parse)
        .transpose()
        .map_err(|error| StoreError::Other(format!("the value of {key:?} is damaged: {error}")))
}

/// The JSON of a value.
pub(crate) fn bytes(value: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(value).map_err(|error| StoreError::Other(error.to_string()))
}
