//! How an order is placed: the steps are in the crate's documentation.

use axum::http::{HeaderMap, HeaderValue, header};
use shop_model::{
    CustomerId, Lines, NewOrder, OrderId, Outcome, PricedLine, Refusal, Reservation, Reserve, Settlement,
};
use web::{Level, Platform, Problem};

use crate::key;
use crate::products::ProductApi;
use crate::record::{Begin, Record, State};
use crate::repository::Repository;
use crate::stale;

/// An order with its answer.
pub(crate) struct Placed {
    pub(crate) record: Record,
    /// An earlier request got the answer first.
    pub(crate) is_replay: bool,
}

/// One attempt of one order.
struct Attempt<'a> {
    platform: &'a Platform,
    orders: Repository,
    api: ProductApi<'a>,
    order: OrderId,
    customer: &'a CustomerId,
    lines: &'a Lines,
    number: u32,
}

/// Places an order, or finds its earlier answer.
///
/// # Errors
/// The order is not decided. The client may send the same request again, unless the problem says otherwise.
pub(crate) async fn place(
    platform: &Platform,
    headers: &HeaderMap,
    order: &NewOrder,
) -> Result<Placed, Problem> {
    let key = key::of(headers)?;
    let orders = Repository::open(platform)?;
    let api = ProductApi::of(platform, headers)?;
    let id =
        key::order_id(&order.customer, &key).ok_or_else(|| Problem::unavailable("the order has no ID"))?;
    let number = match orders.begin(&id, order, &key::digest(order)?)? {
        Begin::Attempt(number) => number,
        Begin::Answered(record) => return Ok(Placed { record, is_replay: true }),
        Begin::Busy(left) => return Err(busy(left)),
        Begin::OtherOrder => {
            return Err(Problem::invalid("this Idempotency-Key was used for another order: use a new one"));
        }
    };
    let (customer, lines) = (&order.customer, &order.lines);
    Attempt { platform, orders, api, order: id, customer, lines, number }.run().await
}

impl Attempt<'_> {
    async fn run(&self) -> Result<Placed, Problem> {
        let result = match self.reserve().await {
            Ok(Reservation::Reserved { lines }) => self.confirm(lines).await,
            Ok(Reservation::Refused { reason }) => self.answer(&State::Refused { reason }).await,
            Ok(Reservation::Contended { product, .. }) => {
                let detail = format!(
                    "the last items of {product} are in orders that are being placed: try again with the same Idempotency-Key"
                );
                Err(retry_after(Problem::unavailable(detail), 1))
            }
            Ok(Reservation::Superseded) => return Err(busy(self.orders.lease)),
            Err(problem) => Err(retry_after(problem, 1)),
        };
        if result.is_err() {
            // If this fails, too, the lease ends by itself.
            let _ = self.orders.give_up(&self.order, self.number);
        }
        result
    }

    /// Reserves all lines. Ends stale holds that are in the way, once.
    async fn reserve(&self) -> Result<Reservation, Problem> {
        let wanted = Reserve {
            order: self.order.clone(),
            attempt: self.number,
            lines: self.lines.clone(),
            stale_after: self.orders.lease,
        };
        let reservation = self.api.reserve(&wanted).await?;
        let Reservation::Contended { stale, .. } = &reservation else { return Ok(reservation) };
        let mut ended = false;
        for hold in stale {
            ended |= stale::end(&self.orders, &self.api, hold).await?;
        }
        if ended { self.api.reserve(&wanted).await } else { Ok(reservation) }
    }

    async fn confirm(&self, lines: Vec<PricedLine>) -> Result<Placed, Problem> {
        // Before it is confirmed, so that a confirmed order is always listed.
        self.orders.list(self.customer, &self.order)?;
        let placed = self.answer(&State::Confirmed { attempt: self.number, lines }).await?;
        if !placed.is_replay {
            self.settle(Outcome::Sold).await;
        }
        Ok(placed)
    }

    /// Decides the order. If a later attempt has the order, releases what this attempt holds.
    async fn answer(&self, answer: &State) -> Result<Placed, Problem> {
        let record = self.orders.answer(&self.order, self.number, answer)?;
        let record = record.ok_or_else(|| Problem::unavailable("the order's record is gone"))?;
        if record.state == *answer {
            return Ok(Placed { record, is_replay: false });
        }
        self.settle(Outcome::Released).await;
        match record.state {
            State::Pending { .. } => Err(busy(self.orders.lease)),
            State::Confirmed { .. } | State::Refused { .. } => Ok(Placed { record, is_replay: true }),
        }
    }

    /// Ends the attempt's holds. The order is decided already, so a failure is only logged. The holds are ended later, when they are stale.
    async fn settle(&self, outcome: Outcome) {
        let (order, lines) = (self.order.clone(), self.lines.clone());
        let settlement = Settlement { order, attempt: self.number, lines, outcome };
        if let Err(problem) = self.api.settle(&settlement).await {
            let fields = [("order", self.order.as_str()), ("error", &problem.detail)];
            self.platform.log(Level::Warn, "the holds of an order stay until they are stale", &fields);
        }
    }
}

/// The problem of an order that is refused.
pub(crate) fn refused(order: &OrderId, reason: &Refusal) -> Problem {
    let problem = match reason {
        Refusal::OutOfStock { product, requested, available } => Problem::conflict(format!(
            "there are not enough items of {product}: {} requested, {available} available",
            requested.get()
        ))
        .member("product", product.as_str())
        .member("available", *available),
        Refusal::UnknownProduct { product } => {
            Problem::invalid(format!("there is no product {product}")).member("product", product.as_str())
        }
        Refusal::NoTotal => {
            Problem::invalid("the products' prices have more than one currency, or their sum is too large")
        }
    };
    problem.member("order", order.as_str())
}

fn busy(milliseconds: u64) -> Problem {
    let detail = "a request with this Idempotency-Key is still in progress";
    retry_after(Problem::conflict(detail), milliseconds.div_ceil(1000).max(1))
}

fn retry_after(problem: Problem, seconds: u64) -> Problem {
    problem.header(header::RETRY_AFTER, HeaderValue::from(seconds))
}
