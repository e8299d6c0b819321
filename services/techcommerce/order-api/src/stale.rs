//! Ends holds whose orders are decided, or whose attempts have stopped.

use shop_model::{Hold, Line, Lines, Settlement};
use web::Problem;

use crate::products::ProductApi;
use crate::repository::Repository;

/// Ends the hold unless its order's attempt runs. Returns whether it did.
pub(crate) async fn end(orders: &Repository, api: &ProductApi<'_>, hold: &Hold) -> Result<bool, Problem> {
    let Some((attempt, outcome)) = orders.end_hold(hold)? else { return Ok(false) };
    let line = Line { product: hold.product.clone(), quantity: hold.quantity };
    let lines = Lines::try_from(vec![line]).map_err(|error| Problem::unavailable(error.to_string()))?;
    api.settle(&Settlement { order: hold.order.clone(), attempt, lines, outcome }).await?;
    Ok(true)
}
