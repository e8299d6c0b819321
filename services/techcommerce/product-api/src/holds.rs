//! The stock of one product and the holds of orders: what one compare-and-swap changes.

use serde::{Deserialize, Serialize};
use shop_model::{Hold, MAX_STALE, OrderId, Outcome, ProductId, Quantity};

/// The most holds of a product. More orders of the same product cannot be in progress at once.
const MAX_HOLDS: usize = 256;

/// The stock of a product.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stock {
    /// How many items can be reserved.
    pub(crate) free: u32,
    /// Items that orders have reserved, the oldest first.
    holds: Vec<OpenHold>,
    /// Counts changes, so that no two states are equal in a compare-and-swap.
    version: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct OpenHold {
    order: OrderId,
    attempt: u32,
    quantity: Quantity,
    since: u64,
}

/// The result of a reservation.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reserved {
    /// The hold is new, or has another attempt now.
    Changed,
    /// The hold was there.
    Unchanged,
}

/// Why items cannot be reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotReserved {
    /// Too few items, also if all holds were released.
    OutOfStock,
    /// Too few items unless holds are released, or too many holds.
    Contended,
    /// A later attempt of the order has the hold.
    Superseded,
}

impl Stock {
    pub(crate) fn of(free: u32) -> Self {
        Self { free, holds: Vec::new(), version: 1 }
    }

    /// How many items are held.
    pub(crate) fn held(&self) -> u32 {
        self.holds.iter().map(|hold| hold.quantity.get()).sum()
    }

    /// Sets the number of free items. Holds stay.
    pub(crate) fn set(&mut self, free: u32) {
        self.free = free;
        self.version += 1;
    }

    /// Moves items to a hold of the order. A hold that the order has from an earlier attempt becomes this attempt's.
    pub(crate) fn reserve(
        &mut self,
        order: &OrderId,
        attempt: u32,
        quantity: Quantity,
        now: u64,
    ) -> Result<Reserved, NotReserved> {
        if let Some(hold) = self.holds.iter_mut().find(|hold| hold.order == *order) {
            if hold.attempt > attempt {
                return Err(NotReserved::Superseded);
            }
            if hold.attempt == attempt {
                return Ok(Reserved::Unchanged);
            }
            hold.attempt = attempt;
            self.version += 1;
            return Ok(Reserved::Changed);
        }
        let wanted = quantity.get();
        if self.free.saturating_add(self.held()) < wanted {
            return Err(NotReserved::OutOfStock);
        }
        if self.holds.len() >= MAX_HOLDS {
            return Err(NotReserved::Contended);
        }
        self.free = self.free.checked_sub(wanted).ok_or(NotReserved::Contended)?;
        self.holds.push(OpenHold { order: order.clone(), attempt, quantity, since: now });
        self.version += 1;
        Ok(Reserved::Changed)
    }

    /// Ends the order's hold. Returns whether there was one that this attempt may end.
    pub(crate) fn settle(&mut self, order: &OrderId, attempt: u32, outcome: Outcome) -> bool {
        let may_end = |hold: &OpenHold| match outcome {
            Outcome::Sold => hold.attempt == attempt,
            Outcome::Released => hold.attempt <= attempt,
        };
        let Some(at) = self.holds.iter().position(|hold| hold.order == *order && may_end(hold)) else {
            return false;
        };
        let hold = self.holds.remove(at);
        if outcome == Outcome::Released {
            self.free = self.free.saturating_add(hold.quantity.get());
        }
        self.version += 1;
        true
    }

    /// The oldest holds from before `before`: at most [`MAX_STALE`].
    pub(crate) fn stale<'a>(
        &'a self,
        product: &'a ProductId,
        before: u64,
    ) -> impl Iterator<Item = Hold> + use<'a> {
        let stale = self.holds.iter().filter(move |hold| hold.since < before).take(MAX_STALE);
        stale.map(|hold| Hold {
            product: product.clone(),
            order: hold.order.clone(),
            attempt: hold.attempt,
            quantity: hold.quantity,
            since: hold.since,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn order(n: u32) -> OrderId {
        format!("{n:032x}").parse().unwrap()
    }

    fn quantity(n: u32) -> Quantity {
        n.try_into().unwrap()
    }

    #[test]
    fn an_order_holds_items_once_however_often_it_asks() {
        let mut stock = Stock::of(3);
        assert_eq!(stock.reserve(&order(1), 1, quantity(2), 0), Ok(Reserved::Changed));
        assert_eq!(stock.reserve(&order(1), 1, quantity(2), 0), Ok(Reserved::Unchanged));
        assert_eq!(stock.reserve(&order(1), 2, quantity(2), 0), Ok(Reserved::Changed));
        assert_eq!(stock.reserve(&order(1), 1, quantity(2), 0), Err(NotReserved::Superseded));
        assert_eq!((stock.free, stock.held()), (1, 2));
        assert!(!stock.settle(&order(1), 1, Outcome::Sold), "the hold is the second attempt's");
        assert!(stock.settle(&order(1), 2, Outcome::Sold));
        assert!(!stock.settle(&order(1), 2, Outcome::Sold));
        assert!(!stock.settle(&order(1), 2, Outcome::Released), "what is sold does not come back");
        assert_eq!((stock.free, stock.held()), (1, 0));
    }

    #[test]
    fn what_others_hold_may_come_back_so_only_the_rest_is_out_of_stock() {
        let mut stock = Stock::of(2);
        stock.reserve(&order(1), 1, quantity(2), 0).unwrap();
        assert_eq!(stock.reserve(&order(2), 1, quantity(2), 0), Err(NotReserved::Contended));
        assert_eq!(stock.reserve(&order(2), 1, quantity(3), 0), Err(NotReserved::OutOfStock));
        assert!(stock.settle(&order(1), 1, Outcome::Released));
        assert_eq!(stock.reserve(&order(2), 1, quantity(2), 0), Ok(Reserved::Changed));
        assert!(stock.settle(&order(2), 1, Outcome::Sold));
        assert_eq!(stock.reserve(&order(3), 1, quantity(1), 0), Err(NotReserved::OutOfStock));
    }

    #[test]
    fn holds_are_bounded_and_the_oldest_are_stale_first() {
        let mut stock = Stock::of(1000);
        for n in 0..256 {
            stock.reserve(&order(n), 1, quantity(1), u64::from(n)).unwrap();
        }
        assert_eq!(stock.reserve(&order(999), 1, quantity(1), 0), Err(NotReserved::Contended));
        let product = "p".parse().unwrap();
        let stale: Vec<_> = stock.stale(&product, 10).map(|hold| hold.since).collect();
        assert_eq!(stale, (0..10).collect::<Vec<_>>());
        assert_eq!(stock.stale(&product, 1000).count(), MAX_STALE);
    }

    proptest! {
        /// Whatever comes in whatever sequence: items are neither made nor lost.
        #[test]
        fn items_are_free_held_or_sold(
            steps in proptest::collection::vec((0..4_u32, 1..4_u32, 1..5_u32, 0..3_u8), 0..60),
        ) {
            let mut stock = Stock::of(10);
            let mut sold = 0;
            for (id, attempt, count, action) in steps {
                let before = (stock.clone(), stock.held());
                match action {
                    0 => drop(stock.reserve(&order(id), attempt, quantity(count), 0)),
                    1 => drop(stock.settle(&order(id), attempt, Outcome::Released)),
                    _ => {
                        stock.settle(&order(id), attempt, Outcome::Sold);
                        sold += before.1 - stock.held();
                    }
                }
                prop_assert_eq!(stock.free + stock.held() + sold, 10);
                prop_assert_eq!(stock == before.0, stock.version == before.0.version, "a change shows in the version");
            }
        }
    }
}
