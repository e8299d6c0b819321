//! The record of an order, and how it changes.

use serde::{Deserialize, Serialize};
use shop_model::{
    CustomerId, Hold, Lines, NewOrder, Order, OrderId, OrderLine, OrderStatus, Outcome, PricedLine, Refusal,
    total,
};

/// What the store has of an order.
///
/// The number of the attempt never falls, and a record that is confirmed or refused does not change: no two states are equal in a
/// compare-and-swap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) id: OrderId,
    customer: CustomerId,
    pub(crate) lines: Lines,
    /// See [`crate::key::digest`].
    digest: String,
    /// When the first attempt began, in milliseconds since the Unix epoch.
    created: u64,
    pub(crate) state: State,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// An attempt runs, or has stopped.
    Pending {
        attempt: u32,
        /// Until when no other attempt may begin, in milliseconds since the Unix epoch.
        until: u64,
    },
    Confirmed {
        attempt: u32,
        lines: Vec<PricedLine>,
    },
    Refused {
        reason: Refusal,
    },
}

/// What a request finds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// The request's attempt has begun.
    Attempt(u32),
    /// The order is decided.
    Answered(Record),
    /// Another attempt runs, at most for so many milliseconds.
    Busy(u64),
    /// The key was used for another order.
    OtherOrder,
}

impl Record {
    /// Begins an attempt. `record` is changed only then.
    pub(crate) fn begin(
        record: &mut Option<Self>,
        id: &OrderId,
        order: &NewOrder,
        digest: &str,
        now: u64,
        lease: u64,
    ) -> Begin {
        let until = now.saturating_add(lease);
        let Some(known) = record else {
            *record = Some(Self {
                id: id.clone(),
                customer: order.customer.clone(),
                lines: order.lines.clone(),
                digest: digest.to_owned(),
                created: now,
                state: State::Pending { attempt: 1, until },
            });
            return Begin::Attempt(1);
        };
        if known.digest != digest {
            return Begin::OtherOrder;
        }
        match &mut known.state {
            State::Pending { until: end, .. } if *end > now => Begin::Busy(*end - now),
            State::Pending { attempt, until: end } => {
                (*attempt, *end) = (attempt.saturating_add(1), until);
                Begin::Attempt(*attempt)
            }
            State::Confirmed { .. } | State::Refused { .. } => Begin::Answered(known.clone()),
        }
    }

    /// Whether the attempt is the one that runs.
    pub(crate) fn is_of(&self, attempt: u32) -> bool {
        matches!(self.state, State::Pending { attempt: current, .. } if current == attempt)
    }

    /// Ends the attempt without a decision: the next one may begin at once.
    pub(crate) fn end_lease(&mut self) {
        if let State::Pending { until, .. } = &mut self.state {
            *until = 0;
        }
    }

    /// What to do with a hold, and of which attempts; `None` while the order's attempt runs. An attempt that has stopped loses its right
    /// to confirm the order, and `self` changes.
    pub(crate) fn end_hold(&mut self, hold: &Hold, now: u64) -> Option<(u32, Outcome)> {
        match &mut self.state {
            State::Pending { until, .. } if *until > now => None,
            State::Pending { attempt, until } => {
                (*attempt, *until) = (attempt.saturating_add(1), 0);
                Some((*attempt, Outcome::Released))
            }
            State::Confirmed { attempt, .. } if *attempt == hold.attempt => Some((*attempt, Outcome::Sold)),
            State::Confirmed { .. } | State::Refused { .. } => Some((hold.attempt, Outcome::Released)),
        }
    }

    /// The order as clients see it.
    pub(crate) fn view(&self) -> Order {
        let plain = || self.lines.as_slice().iter().cloned().map(OrderLine::Plain).collect();
        let (status, lines, total) = match &self.state {
            State::Pending { .. } => (OrderStatus::Pending, plain(), None),
            State::Refused { .. } => (OrderStatus::Refused, plain(), None),
            State::Confirmed { lines, .. } => {
                let priced = lines.iter().cloned().map(OrderLine::Priced).collect();
                (OrderStatus::Confirmed, priced, total(lines))
            }
        };
        let (id, customer) = (self.id.clone(), self.customer.clone());
        Order { id, customer, status, created: self.created, lines, total }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(quantity: u32) -> NewOrder {
        let json = format!(r#"{{"customer":"c","lines":[{{"product":"p","quantity":{quantity}}}]}}"#);
        serde_json::from_str(&json).unwrap()
    }

    fn begin(record: &mut Option<Record>, now: u64) -> Begin {
        let id = "0".repeat(32).parse().unwrap();
        Record::begin(record, &id, &order(1), "digest", now, 10)
    }

    fn hold(attempt: u32) -> Hold {
        let text = format!(
            r#"{{"product":"p","order":"{}","attempt":{attempt},"quantity":1,"since":0}}"#,
            "0".repeat(32)
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn an_attempt_has_the_order_until_its_lease_ends() {
        let mut record = None;
        assert_eq!(begin(&mut record, 100), Begin::Attempt(1));
        assert_eq!(begin(&mut record, 109), Begin::Busy(1));
        assert_eq!(begin(&mut record, 110), Begin::Attempt(2));
        let record = record.as_mut().unwrap();
        assert!(record.is_of(2) && !record.is_of(1));
        record.end_lease();
        assert_eq!(begin(&mut Some(record.clone()), 110), Begin::Attempt(3));
    }

    #[test]
    fn an_answer_stays_and_the_key_with_it() {
        let mut record = None;
        begin(&mut record, 100);
        record.as_mut().unwrap().state = State::Confirmed { attempt: 1, lines: Vec::new() };
        assert_eq!(begin(&mut record, 200), Begin::Answered(record.clone().unwrap()));
        let id = "0".repeat(32).parse().unwrap();
        assert_eq!(Record::begin(&mut record, &id, &order(2), "other", 200, 10), Begin::OtherOrder);
    }

    #[test]
    fn a_hold_is_sold_only_to_the_attempt_that_confirmed() {
        let mut record = None;
        begin(&mut record, 100);
        let mut record = record.unwrap();
        assert_eq!(record.end_hold(&hold(1), 109), None, "the attempt runs");
        let mut confirmed = record.clone();
        confirmed.state = State::Confirmed { attempt: 2, lines: Vec::new() };
        assert_eq!(confirmed.end_hold(&hold(2), 0), Some((2, Outcome::Sold)));
        assert_eq!(confirmed.end_hold(&hold(1), 0), Some((1, Outcome::Released)));
        assert_eq!(record.end_hold(&hold(1), 110), Some((2, Outcome::Released)));
        assert!(!record.is_of(1), "the first attempt can no longer confirm");
    }
}
