//! The table of operations: for each, the arguments that it reads, the limits that it checks, and what it asks of its store.
//!
//! Written by hand rather than generated. Keys are read where they lie in the guest's memory. Values go back as the store's own
//! reference-counted [`Bytes`], so that a `get` copies the value once, into the guest.

use bytes::Bytes;
use wasi_http_host_keyvalue::{Answer, Error, KeyPage, Operation, Store, Swap};
use wasmtime::{
    StoreContextMut,
    component::{
        ComponentNamedList, ComponentType, Linker, Lower, Resource, ResourceType, WasmList, WasmStr,
    },
};

use super::{
    client::{Bucket, Cas, Client},
    functions::Functions,
    limits,
};

const STORE: &str = "wasi:keyvalue/store@0.2.0-draft2";
const ATOMICS: &str = "wasi:keyvalue/atomics@0.2.0-draft2";
const BATCH: &str = "wasi:keyvalue/batch@0.2.0-draft2";

/// `wasi:keyvalue/store.error`.
#[derive(ComponentType, Lower)]
#[component(variant)]
enum StoreError {
    #[component(name = "no-such-store")]
    NoSuchStore,
    #[component(name = "access-denied")]
    AccessDenied,
    #[component(name = "other")]
    Other(String),
}

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        match error {
            Error::NoSuchStore => Self::NoSuchStore,
            Error::AccessDenied => Self::AccessDenied,
            Error::Other(text) => Self::Other(text),
        }
    }
}

/// `wasi:keyvalue/store.key-response`.
#[derive(ComponentType, Lower)]
#[component(record)]
struct KeyResponse {
    keys: Vec<String>,
    cursor: Option<String>,
}

impl From<KeyPage> for KeyResponse {
    fn from(KeyPage { keys, cursor }: KeyPage) -> Self {
        Self { keys, cursor }
    }
}

/// `wasi:keyvalue/atomics.cas-error`.
#[derive(ComponentType, Lower)]
#[component(variant)]
enum CasError {
    #[component(name = "store-error")]
    StoreError(StoreError),
    #[component(name = "cas-failed")]
    CasFailed(Resource<Cas>),
}

/// Links `wasi:keyvalue` at `0.2.0-draft2`: `store`, `atomics` and `batch`. `get` finds the instance's [`Client`] in the data of the
/// wasmtime store. `waits`: one of the stores may answer later.
///
/// # Errors
/// When the linker has these interfaces already.
pub(crate) fn add_to_linker<T: Send + 'static>(
    linker: &mut Linker<T>,
    waits: bool,
    get: fn(&T) -> &Client,
) -> wasmtime::Result<()> {
    add_store(&mut Functions { instance: linker.instance(STORE)?, waits, get })?;
    add_atomics(&mut Functions { instance: linker.instance(ATOMICS)?, waits, get })?;
    add_batch(&mut Functions { instance: linker.instance(BATCH)?, waits, get })
}

/// Asks a store, unless the arguments exceed a limit.
fn within<A>(limits: Result<(), Error>, ask: impl FnOnce() -> Answer<A>) -> Answer<A> {
    match limits {
        Ok(()) => ask(),
        Err(error) => error.into(),
    }
}

type KeyArguments = (Resource<Bucket>, WasmStr);

/// Links an operation whose only argument is a key, and whose answer is the guest's result.
fn on_key<T: Send + 'static, A: Send + 'static>(
    to: &mut Functions<'_, T>,
    name: &str,
    operation: Operation,
    ask: impl Fn(&dyn Store, &str) -> Answer<A> + Copy + Send + Sync + 'static,
) -> wasmtime::Result<()>
where
    (Result<A, StoreError>,): ComponentNamedList + Lower,
{
    to.on_bucket::<_, _, _, StoreError>(
        name,
        operation,
        move |cx, store, (_, key): KeyArguments| {
            let key = key.to_str(cx)?;
            Ok(within(limits::key(&key), || ask(store, &key)))
        },
        |answer| answer,
    )
}

fn add_store<T: Send + 'static>(to: &mut Functions<'_, T>) -> wasmtime::Result<()> {
    let get = to.get;
    to.instance.resource("bucket", ResourceType::host::<Bucket>(), |_, _| Ok(()))?;
    to.instance.func_wrap("open", move |cx: StoreContextMut<'_, T>, (name,): (WasmStr,)| {
        Ok((get(cx.data()).open(&name.to_str(&cx)?).map_err(StoreError::from),))
    })?;
    on_key(to, "[method]bucket.get", Operation::Get, Store::get)?;
    to.on_bucket::<_, _, _, StoreError>(
        "[method]bucket.set",
        Operation::Set,
        |cx, store, (_, key, value): (Resource<Bucket>, WasmStr, WasmList<u8>)| {
            let (key, value) = (key.to_str(cx)?, value.as_le_slice(cx));
            let limits = limits::key(&key).and_then(|()| limits::value(&key, value));
            Ok(within(limits, || store.set(&key, Bytes::copy_from_slice(value))))
        },
        |()| (),
    )?;
    on_key(to, "[method]bucket.delete", Operation::Delete, Store::delete)?;
    on_key(to, "[method]bucket.exists", Operation::Exists, Store::exists)?;
    to.on_bucket::<_, _, _, StoreError>(
        "[method]bucket.list-keys",
        Operation::ListKeys,
        |cx, store, (_, cursor): (Resource<Bucket>, Option<WasmStr>)| {
            let cursor = cursor.map(|cursor| cursor.to_str(cx)).transpose()?;
            Ok(store.list_keys(cursor.as_deref()))
        },
        KeyResponse::from,
    )
}

fn add_atomics<T: Send + 'static>(to: &mut Functions<'_, T>) -> wasmtime::Result<()> {
    let get = to.get;
    let cas = ResourceType::host::<Cas>();
    to.instance.resource("cas", cas, move |cx, rep| {
        get(cx.data()).cas_take(Resource::new_own(rep))?;
        Ok(())
    })?;
    to.operation(
        "[static]cas.new",
        Operation::CasNew,
        |_, (bucket, _): &KeyArguments| Ok(bucket.rep()),
        |cx, _, store, (bucket, key)| {
            let key: Box<str> = key.to_str(cx)?.into();
            let answer = within(limits::key(&key), || store.snapshot(&key));
            Ok(((bucket.rep(), key), answer))
        },
        |client, (bucket, key), seen| client.cas_push(Cas { bucket, key, seen }),
        |handle| handle.map_err(StoreError::from),
    )?;
    to.instance.func_wrap(
        "[method]cas.current",
        move |cx: StoreContextMut<'_, T>, (cas,): (Resource<Cas>,)| {
            Ok((Ok::<_, StoreError>(get(cx.data()).cas_current(&cas)?),))
        },
    )?;
    to.on_bucket::<_, _, _, StoreError>(
        "increment",
        Operation::Increment,
        |cx, store, (_, key, delta): (Resource<Bucket>, WasmStr, i64)| {
            let key = key.to_str(cx)?;
            Ok(within(limits::key(&key), || store.increment(&key, delta)))
        },
        |sum: i64| sum,
    )?;
    to.operation(
        "swap",
        Operation::Swap,
        |client, (cas, _): &(Resource<Cas>, WasmList<u8>)| client.cas_bucket(cas),
        |cx, client, store, (cas, value)| {
            let cas = client.cas_take(cas)?;
            let value = value.as_le_slice(cx);
            let answer = within(limits::value(&cas.key, value), || {
                store.swap(&cas.key, &cas.seen, Bytes::copy_from_slice(value))
            });
            Ok((cas, answer))
        },
        // A lost race returns the handle of the next attempt.
        |client, cas, swap| match swap {
            Swap::Done => Ok(None),
            Swap::Stale(seen) => client.cas_push(Cas { seen, ..cas }).map(Some),
        },
        |swapped| match swapped {
            Ok(None) => Ok(()),
            Ok(Some(next)) => Err(CasError::CasFailed(next)),
            Err(error) => Err(CasError::StoreError(error.into())),
        },
    )
}

fn add_batch<T: Send + 'static>(to: &mut Functions<'_, T>) -> wasmtime::Result<()> {
    to.on_bucket::<_, _, _, StoreError>(
        "get-many",
        Operation::GetMany,
        |_, store, (_, keys): (Resource<Bucket>, Vec<String>)| {
            Ok(within(limits::keys(&keys), || store.get_many(keys)))
        },
        |pairs: Vec<(String, Option<Bytes>)>| pairs,
    )?;
    to.on_bucket::<_, _, _, StoreError>(
        "set-many",
        Operation::SetMany,
        |_, store, (_, pairs): (Resource<Bucket>, Vec<(String, Bytes)>)| {
            Ok(within(limits::pairs(&pairs), || store.set_many(pairs)))
        },
        |()| (),
    )?;
    to.on_bucket::<_, _, _, StoreError>(
        "delete-many",
        Operation::DeleteMany,
        |_, store, (_, keys): (Resource<Bucket>, Vec<String>)| {
            Ok(within(limits::keys(&keys), || store.delete_many(keys)))
        },
        |()| (),
    )
}
