//! The basket: a cookie's value such as `relay-hub:2.vault-ssd:1`.

use shop_model::{Line, MAX_LINES, MAX_QUANTITY, ProductId, Quantity};

/// What a visitor wants to order, in the sequence in which the products were added.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Basket(Vec<Line>);

/// Why a product was not added.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NotAdded {
    /// The basket has [`MAX_LINES`] products.
    Full,
    /// The basket has [`MAX_QUANTITY`] items of the product.
    Enough,
}

impl Basket {
    /// Reads a cookie's value. What is not valid is left out: the cookie is the visitor's own.
    pub(crate) fn parse(value: &str) -> Self {
        let mut basket = Self::default();
        for part in value.split('.').take(MAX_LINES) {
            let Some((product, count)) = part.split_once(':') else { continue };
            if let (Ok(product), Ok(count)) = (product.parse(), count.parse()) {
                // A basket that is full leaves out the rest.
                let _ = basket.add(&product, count);
            }
        }
        basket
    }

    pub(crate) fn to_value(&self) -> String {
        let parts: Vec<_> =
            self.0.iter().map(|line| format!("{}:{}", line.product, line.quantity.get())).collect();
        parts.join(".")
    }

    pub(crate) fn lines(&self) -> &[Line] {
        &self.0
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many items there are.
    pub(crate) fn count(&self) -> u32 {
        self.0.iter().map(|line| line.quantity.get()).sum()
    }

    /// Adds items, at most as many as a line can have.
    pub(crate) fn add(&mut self, product: &ProductId, count: u32) -> Result<(), NotAdded> {
        let known = self.0.iter().find(|line| line.product == *product).map_or(0, |line| line.quantity.get());
        if known >= MAX_QUANTITY {
            return Err(NotAdded::Enough);
        }
        self.set(product, known.saturating_add(count).min(MAX_QUANTITY))
    }

    /// Sets the number of items of a product; 0 removes the product.
    pub(crate) fn set(&mut self, product: &ProductId, count: u32) -> Result<(), NotAdded> {
        let Ok(quantity) = Quantity::try_from(count.min(MAX_QUANTITY)) else {
            self.0.retain(|line| line.product != *product);
            return Ok(());
        };
        let is_full = self.0.len() >= MAX_LINES;
        match self.0.iter_mut().find(|line| line.product == *product) {
            Some(line) => line.quantity = quantity,
            None if is_full => return Err(NotAdded::Full),
            None => self.0.push(Line { product: product.clone(), quantity }),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(text: &str) -> ProductId {
        text.parse().unwrap()
    }

    #[test]
    fn a_basket_survives_its_cookie() {
        let mut basket = Basket::default();
        basket.add(&id("relay-hub"), 2).unwrap();
        basket.add(&id("a"), 1).unwrap();
        basket.add(&id("relay-hub"), 1).unwrap();
        assert_eq!(basket.to_value(), "relay-hub:3.a:1");
        assert_eq!(Basket::parse(&basket.to_value()), basket);
        basket.set(&id("a"), 0).unwrap();
        assert_eq!((basket.count(), basket.to_value()), (3, "relay-hub:3".to_owned()));
    }

    #[test]
    fn a_basket_has_bounds() {
        let mut basket = Basket::default();
        for n in 0..MAX_LINES {
            basket.add(&id(&format!("p{n}")), 1).unwrap();
        }
        assert_eq!(basket.add(&id("one-more"), 1), Err(NotAdded::Full));
        assert_eq!(basket.add(&id("p1"), 4_000_000_000), Ok(()));
        assert_eq!(basket.add(&id("p1"), 1), Err(NotAdded::Enough));
        assert_eq!(Basket::parse("A:1.b:x.c:-1.d.e:0.f:1").to_value(), "f:1");
    }

    proptest! {
        #[test]
        fn any_cookie_is_a_basket_in_bounds(value in "[a-c0-9.:-]{0,400}|.*") {
            let basket = Basket::parse(&value);
            prop_assert!(basket.lines().len() <= MAX_LINES);
            prop_assert!(basket.lines().iter().all(|line| line.quantity.get() <= MAX_QUANTITY));
            prop_assert_eq!(Basket::parse(&basket.to_value()), basket);
        }
    }
}
