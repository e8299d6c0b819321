//! The products that a new shop begins with.

use serde::Deserialize;
use shop_model::{Money, ProductId};

use crate::catalogue::Entry;

/// A product with its first stock.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewProduct {
    pub(crate) id: ProductId,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) category: String,
    pub(crate) price: Money,
    pub(crate) stock: u32,
}

impl NewProduct {
    pub(crate) fn split(self) -> (Entry, u32) {
        let Self { id, name, description, category, price, stock } = self;
        (Entry { id, name, description, category, price }, stock)
    }
}

/// The products. A test checks that `seed.json` is valid.
pub(crate) fn products() -> Vec<NewProduct> {
    serde_json::from_str(include_str!("seed.json")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Catalogue;

    #[test]
    fn each_product_is_valid_and_has_an_id_of_its_own() {
        let products = products();
        assert_eq!(products.len(), 24);
        let mut catalogue = Catalogue::default();
        for product in products {
            catalogue.add(product.split().0).unwrap();
        }
        assert_eq!(catalogue.categories().len(), 7);
    }
}
