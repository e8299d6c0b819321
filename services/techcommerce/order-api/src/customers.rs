//! Which orders a customer has.

use serde::{Deserialize, Serialize};
use shop_model::{CustomerId, OrderId};

/// The most orders of a page.
const PAGE: usize = 50;

/// The newest page of a customer's orders, and how many pages are full. Full pages have keys of their own and do not change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Index {
    page: u32,
    /// The oldest first.
    orders: Vec<OrderId>,
}

impl Index {
    pub(crate) fn head_key(customer: &CustomerId) -> String {
        format!("customer/{customer}")
    }

    pub(crate) fn page_key(customer: &CustomerId, page: u32) -> String {
        format!("customer/{customer}/{page}")
    }

    /// The number of this page.
    pub(crate) fn page(&self) -> u32 {
        self.page
    }

    /// The number of the page before.
    pub(crate) fn before(&self) -> Option<u32> {
        self.page.checked_sub(1)
    }

    /// The orders of this page, the oldest first.
    pub(crate) fn orders(&self) -> &[OrderId] {
        &self.orders
    }

    /// This page, if the next order begins a new one.
    pub(crate) fn full_page(&self) -> Option<(u32, &[OrderId])> {
        (self.orders.len() >= PAGE).then_some((self.page, &*self.orders))
    }

    /// Adds an order, unless this page has it. The caller has written the page to its own key if it is full. Returns whether the index
    /// has changed.
    pub(crate) fn add(&mut self, order: &OrderId) -> bool {
        if self.orders.contains(order) {
            return false;
        }
        if self.orders.len() >= PAGE {
            self.page = self.page.saturating_add(1);
            self.orders.clear();
        }
        self.orders.push(order.clone());
        true
    }
}
