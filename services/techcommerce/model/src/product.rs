//! Products as the product API shows them.

use serde::{Deserialize, Serialize};

use crate::{Money, ProductId};

/// A product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Product {
    /// The ID.
    pub id: ProductId,
    /// The name.
    pub name: String,
    /// One paragraph about it.
    pub description: String,
    /// The category, in lower case.
    pub category: String,
    /// The price of one item.
    pub price: Money,
    /// How many items can be ordered now.
    pub stock: u32,
}

/// One page of products.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProductPage {
    /// The products, in the order of their names.
    pub data: Vec<Product>,
    /// The number of this page, from 1.
    pub page: u32,
    /// The most products of a page.
    pub per_page: u32,
    /// How many products all pages have.
    pub total: u32,
    /// The categories of all products, whatever was searched for.
    pub categories: Vec<String>,
}
