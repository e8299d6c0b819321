//! The records of orders in the key-value store.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use shop_model::{CustomerId, Hold, NewOrder, OrderId, Outcome};
use web::{Platform, Problem, Store, StoreError, replace_with};

use crate::customers::Index;
use crate::record::{Begin, Record, State};

/// How often a compare-and-swap is tried. Each vain attempt means that another request succeeded.
const ATTEMPTS: u32 = 100;
/// How long an attempt's lease on its order lasts when the setting `order_lease` is not set.
pub(crate) const LEASE: Duration = Duration::from_secs(10);

pub(crate) struct Repository {
    store: Arc<dyn Store>,
    /// Since the Unix epoch, in milliseconds.
    now: u64,
    /// In milliseconds.
    pub(crate) lease: u64,
}

/// Why a key was not changed.
enum Kept {
    Store(StoreError),
    /// It needs no change.
    AsItIs,
}

impl From<StoreError> for Kept {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Repository {
    pub(crate) fn open(platform: &Platform) -> Result<Self, Problem> {
        let name = platform.setting_or("store", "default".to_owned())?;
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let lease = milliseconds(platform.setting_or("order_lease", LEASE)?);
        let now = milliseconds(platform.unix_time());
        Ok(Self { store: platform.store(&name)?, now, lease })
    }

    pub(crate) fn get(&self, id: &OrderId) -> Result<Option<Record>, StoreError> {
        self.read(&key(id))
    }

    /// Begins an attempt of the order.
    pub(crate) fn begin(&self, id: &OrderId, order: &NewOrder, digest: &str) -> Result<Begin, StoreError> {
        let mut found = Begin::OtherOrder;
        self.update(&key(id), |record: &mut Option<Record>| {
            found = Record::begin(record, id, order, digest, self.now, self.lease);
            matches!(found, Begin::Attempt(_))
        })?;
        Ok(found)
    }

    /// Decides the order, if the attempt is the one that runs. Returns the record as it is then.
    pub(crate) fn answer(
        &self,
        id: &OrderId,
        attempt: u32,
        answer: &State,
    ) -> Result<Option<Record>, StoreError> {
        self.if_of(id, attempt, |record| record.state.clone_from(answer))
    }

    /// Ends the attempt without a decision: the next one may begin at once.
    pub(crate) fn give_up(&self, id: &OrderId, attempt: u32) -> Result<(), StoreError> {
        self.if_of(id, attempt, Record::end_lease).map(drop)
    }

    /// What to do with a hold: see [`Record::end_hold`]. An order that the store does not have holds nothing.
    pub(crate) fn end_hold(&self, hold: &Hold) -> Result<Option<(u32, Outcome)>, StoreError> {
        let mut end = None;
        self.update(&key(&hold.order), |record: &mut Option<Record>| {
            let Some(record) = record else {
                end = Some((hold.attempt, Outcome::Released));
                return false;
            };
            let before = record.clone();
            end = record.end_hold(hold, self.now);
            *record != before
        })?;
        Ok(end)
    }

    /// Lists the order among the customer's.
    pub(crate) fn list(&self, customer: &CustomerId, order: &OrderId) -> Result<(), StoreError> {
        let head = Index::head_key(customer);
        let mut index = self.read::<Index>(&head)?.unwrap_or_default();
        if let Some(before) = index.before()
            && let Some(page) = self.read::<Vec<OrderId>>(&Index::page_key(customer, before))?
            && page.contains(order)
        {
            return Ok(());
        }
        for _ in 0..ATTEMPTS {
            let known = index.clone();
            if let Some((page, orders)) = index.full_page() {
                // Every request that sees this page full writes the same value, so any of them may write it.
                self.store.set(&Index::page_key(customer, page), &bytes(orders)?)?;
            }
            let mut moved = None;
            self.update(&head, |current: &mut Option<Index>| {
                let current = current.get_or_insert_default();
                if current.page() != known.page() || current.full_page() != known.full_page() {
                    moved = Some(current.clone());
                    return false;
                }
                current.add(order)
            })?;
            match moved {
                Some(moved) => index = moved,
                None => return Ok(()),
            }
        }
        Err(StoreError::Contended)
    }

    /// One page of a customer's orders, the newest first, and the number of the page before. `None`: the newest page.
    pub(crate) fn page(
        &self,
        customer: &CustomerId,
        page: Option<u32>,
    ) -> Result<(Vec<Record>, Option<u32>), StoreError> {
        let index = self.read::<Index>(&Index::head_key(customer))?.unwrap_or_default();
        let (orders, before) = match page {
            Some(page) if page < index.page() => {
                let orders = self.read(&Index::page_key(customer, page))?.unwrap_or_default();
                (orders, page.checked_sub(1))
            }
            _ => (index.orders().to_vec(), index.before()),
        };
        let records: Result<Vec<_>, _> = orders.iter().rev().map(|id| self.get(id)).collect();
        Ok((records?.into_iter().flatten().collect(), before))
    }

    fn if_of(
        &self,
        id: &OrderId,
        attempt: u32,
        change: impl Fn(&mut Record),
    ) -> Result<Option<Record>, StoreError> {
        let mut found = None;
        self.update(&key(id), |record: &mut Option<Record>| {
            let changed = match record {
                Some(record) if record.is_of(attempt) => {
                    change(record);
                    true
                }
                _ => false,
            };
            found.clone_from(record);
            changed
        })?;
        Ok(found)
    }

    /// Changes the value of `key`, unless `change` returns false.
    fn update<T: Serialize + DeserializeOwned>(
        &self,
        key: &str,
        mut change: impl FnMut(&mut Option<T>) -> bool,
    ) -> Result<(), StoreError> {
        let replaced = replace_with(&*self.store, key, ATTEMPTS, |current| {
            let mut value = parse(key, current)?;
            match (change(&mut value), value) {
                (true, Some(value)) => Ok(bytes(&value)?),
                _ => Err(Kept::AsItIs),
            }
        });
        match replaced {
            Ok(()) | Err(Kept::AsItIs) => Ok(()),
            Err(Kept::Store(error)) => Err(error),
        }
    }

    fn read<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, StoreError> {
        parse(key, self.store.get(key)?.as_deref())
    }
}

fn key(id: &OrderId) -> String {
    format!("order/{id}")
}

fn parse<T: DeserializeOwned>(key: &str, value: Option<&[u8]>) -> Result<Option<T>, StoreError> {
    let damaged = |error| StoreError::Other(format!("the value of {key:?} is damaged: {error}"));
    value.map(|value| serde_json::from_slice(value)).transpose().map_err(damaged)
}

fn bytes(value: &(impl Serialize + ?Sized)) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(value).map_err(|error| StoreError::Other(error.to_string()))
}
