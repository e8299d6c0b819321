//! The products without their stock, and how they are found.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use shop_model::{MAX_AMOUNT, Money, ProductId};

/// The most products. Together they stay far below what one value of a store can hold.
pub(crate) const MAX_PRODUCTS: usize = 500;
const MAX_NAME: usize = 80;
const MAX_DESCRIPTION: usize = 1000;
const MAX_CATEGORY: usize = 30;

/// A product without its stock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) id: ProductId,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) category: String,
    pub(crate) price: Money,
}

/// A change of a product: what is absent stays.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    pub(crate) name: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) category: Option<String>,
    pub(crate) price: Option<Money>,
}

/// All products, in the order of their names.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Catalogue {
    pub(crate) products: Vec<Entry>,
    /// Counts changes, so that no two states are equal in a compare-and-swap.
    version: u64,
}

/// A product that cannot be added or changed so.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum InvalidEntry {
    /// A text is too long or empty: which one, and its bound.
    Text(&'static str, usize),
    Category,
    Price,
    Exists,
    Unknown,
    Full,
}

impl Entry {
    fn check(&self) -> Result<(), InvalidEntry> {
        for (what, text, most) in [
            ("name", &self.name, MAX_NAME),
            ("description", &self.description, MAX_DESCRIPTION),
            ("category", &self.category, MAX_CATEGORY),
        ] {
            if text.trim().is_empty() || text.chars().count() > most || text.chars().any(char::is_control) {
                return Err(InvalidEntry::Text(what, most));
            }
        }
        if !self.category.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
            return Err(InvalidEntry::Category);
        }
        if self.price.amount > MAX_AMOUNT { Err(InvalidEntry::Price) } else { Ok(()) }
    }

    fn matches(&self, words: &[String]) -> bool {
        if words.is_empty() {
            return true;
        }
        let text = format!("{} {} {}", self.name, self.description, self.category).to_lowercase();
        words.iter().all(|word| text.contains(word))
    }
}

impl Catalogue {
    pub(crate) fn of(products: Vec<Entry>) -> Self {
        let mut catalogue = Self { products, version: 0 };
        catalogue.changed();
        catalogue
    }

    pub(crate) fn get(&self, id: &ProductId) -> Option<&Entry> {
        self.products.iter().find(|entry| entry.id == *id)
    }

    /// The products that have all words of `query`, and this category if there is one.
    pub(crate) fn search(&self, query: &str, category: Option<&str>) -> Vec<&Entry> {
        let words: Vec<_> = query.split_whitespace().map(str::to_lowercase).collect();
        let in_category = |entry: &&Entry| category.is_none_or(|category| entry.category == category);
        self.products.iter().filter(in_category).filter(|entry| entry.matches(&words)).collect()
    }

    pub(crate) fn categories(&self) -> Vec<String> {
        let categories: BTreeSet<_> = self.products.iter().map(|entry| &*entry.category).collect();
        categories.into_iter().map(str::to_owned).collect()
    }

    pub(crate) fn add(&mut self, entry: Entry) -> Result<(), InvalidEntry> {
        entry.check()?;
        if self.get(&entry.id).is_some() {
            return Err(InvalidEntry::Exists);
        }
        if self.products.len() >= MAX_PRODUCTS {
            return Err(InvalidEntry::Full);
        }
        self.products.push(entry);
        self.changed();
        Ok(())
    }

    pub(crate) fn change(&mut self, id: &ProductId, change: &Change) -> Result<Entry, InvalidEntry> {
        let entry = self.products.iter_mut().find(|entry| entry.id == *id).ok_or(InvalidEntry::Unknown)?;
        let mut changed = entry.clone();
        for (field, new) in [
            (&mut changed.name, &change.name),
            (&mut changed.description, &change.description),
            (&mut changed.category, &change.category),
        ] {
            field.clone_from(new.as_ref().unwrap_or(&field.clone()));
        }
        changed.price = change.price.unwrap_or(changed.price);
        changed.check()?;
        entry.clone_from(&changed);
        self.changed();
        Ok(changed)
    }

    fn changed(&mut self) {
        self.products.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
        self.version += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(id: &str, name: &str) -> Entry {
        Entry {
            id: id.parse().unwrap(),
            name: name.to_owned(),
            description: "Solid and quiet.".to_owned(),
            category: "audio".to_owned(),
            price: Money { amount: 100, currency: "EUR".parse().unwrap() },
        }
    }

    fn names<'a>(found: &[&'a Entry]) -> Vec<&'a str> {
        found.iter().map(|entry| &*entry.name).collect()
    }

    #[test]
    fn search_wants_all_words_in_any_field_and_case() {
        let catalogue = Catalogue::of(vec![entry("b", "Studio Headphones"), entry("a", "Desk Speaker")]);
        assert_eq!(names(&catalogue.search("", None)), ["Desk Speaker", "Studio Headphones"]);
        assert_eq!(names(&catalogue.search(" QUIET  studio ", None)), ["Studio Headphones"]);
        assert_eq!(names(&catalogue.search("audio", Some("audio"))).len(), 2);
        assert!(catalogue.search("audio", Some("video")).is_empty());
        assert!(catalogue.search("studio speaker", None).is_empty());
    }

    #[test]
    fn a_product_is_added_once_and_within_bounds() {
        let mut catalogue = Catalogue::default();
        catalogue.add(entry("a", "A")).unwrap();
        assert_eq!(catalogue.add(entry("a", "B")), Err(InvalidEntry::Exists));
        assert_eq!(catalogue.add(entry("b", " ")), Err(InvalidEntry::Text("name", 80)));
        assert_eq!(catalogue.add(entry("b", &"ä".repeat(81))), Err(InvalidEntry::Text("name", 80)));
        assert_eq!(catalogue.add(entry("b", "a\u{7}")), Err(InvalidEntry::Text("name", 80)));
        assert_eq!(catalogue.add(entry("b", &"ä".repeat(80))), Ok(()));
        assert_eq!(
            catalogue.add(Entry { category: "Audio".into(), ..entry("c", "C") }),
            Err(InvalidEntry::Category)
        );
        for n in catalogue.products.len()..MAX_PRODUCTS {
            catalogue.add(entry(&format!("p{n}"), "P")).unwrap();
        }
        assert_eq!(catalogue.add(entry("z", "Z")), Err(InvalidEntry::Full));
    }

    #[test]
    fn a_change_that_is_not_valid_changes_nothing() {
        let mut catalogue = Catalogue::of(vec![entry("a", "A"), entry("b", "B")]);
        let id = "a".parse().unwrap();
        let change = |name: &str| Change { name: Some(name.to_owned()), ..Change::default() };
        assert_eq!(catalogue.change(&id, &change("")), Err(InvalidEntry::Text("name", 80)));
        assert_eq!(catalogue.get(&id), Some(&entry("a", "A")));
        assert_eq!(catalogue.change(&id, &change("Z")), Ok(entry("a", "Z")));
        assert_eq!(names(&catalogue.search("", None)), ["B", "Z"]);
        assert_eq!(catalogue.change(&"c".parse().unwrap(), &change("C")), Err(InvalidEntry::Unknown));
    }

    proptest! {
        #[test]
        fn any_query_finds_some_of_all(query in ".*", category in proptest::option::of(".*")) {
            let catalogue = Catalogue::of(vec![entry("a", "A"), entry("b", "B")]);
            prop_assert!(catalogue.search(&query, category.as_deref()).len() <= 2);
        }
    }
}
