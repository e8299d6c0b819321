//! `wasi:keyvalue` in a linker.

use super::client::{Bucket, Cas, CasError as Lost, Client, span};
use bytes::Bytes;
use wasi_http_host_keyvalue::{Error, KeyPage, Operation};
use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Linker, Lower, Resource, ResourceType, WasmList, WasmStr};

mod waiting;

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

/// What the guest gets of a store's answer.
fn told<R>(answer: Result<R, Error>) -> Result<R, StoreError> {
    answer.map_err(StoreError::from)
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

impl From<Lost> for CasError {
    fn from(error: Lost) -> Self {
        match error {
            Lost::Store(error) => Self::StoreError(error.into()),
            Lost::Failed(next) => Self::CasFailed(next),
        }
    }
}

/// Links `wasi:keyvalue` at `0.2.0-draft2`: `store`, `atomics` and `batch`. `get` finds the instance's [`Client`].
/// `waiting` where one of its stores is remote: without it, no call costs more than the look-up.
///
/// Written by hand rather than generated: keys are read where they lie in the guest's memory, and values go back
/// as the store's own reference-counted [`Bytes`], so that a `get` copies the value once, into the guest.
///
/// # Errors
/// When the linker has these interfaces already.
pub(crate) fn add_to_linker<T: Send + 'static>(
    linker: &mut Linker<T>,
    waiting: bool,
    get: fn(&T) -> &Client,
) -> wasmtime::Result<()> {
    if waiting {
        return waiting::add_to_linker(linker, get);
    }
    add_store(linker, get)?;
    add_atomics(linker, get)?;
    add_batch(linker, get)
}

fn add_store<T: 'static>(linker: &mut Linker<T>, get: fn(&T) -> &Client) -> wasmtime::Result<()> {
    type Cx<'a, T> = StoreContextMut<'a, T>;
    type KeyArgs = (Resource<Bucket>, WasmStr);
    let mut store = linker.instance(STORE)?;
    store.resource("bucket", ResourceType::host::<Bucket>(), |_, _| Ok(()))?;
    store.func_wrap("open", move |cx: Cx<'_, T>, (name,): (WasmStr,)| {
        Ok((told(get(cx.data()).open(&name.to_str(&cx)?)),))
    })?;
    store.func_wrap("[method]bucket.get", move |mut cx: Cx<'_, T>, (bucket, key): KeyArgs| {
        let _span = span(&mut cx, get, Operation::Get, bucket.rep());
        Ok((told(get(cx.data()).get(&bucket, &key.to_str(&cx)?)?),))
    })?;
    store.func_wrap(
        "[method]bucket.set",
        move |mut cx: Cx<'_, T>, (bucket, key, value): (Resource<Bucket>, WasmStr, WasmList<u8>)| {
            let _span = span(&mut cx, get, Operation::Set, bucket.rep());
            Ok((told(get(cx.data()).set(&bucket, &key.to_str(&cx)?, value.as_le_slice(&cx))?),))
        },
    )?;
    store.func_wrap("[method]bucket.delete", move |mut cx: Cx<'_, T>, (bucket, key): KeyArgs| {
        let _span = span(&mut cx, get, Operation::Delete, bucket.rep());
        Ok((told(get(cx.data()).delete(&bucket, &key.to_str(&cx)?)?),))
    })?;
    store.func_wrap("[method]bucket.exists", move |mut cx: Cx<'_, T>, (bucket, key): KeyArgs| {
        let _span = span(&mut cx, get, Operation::Exists, bucket.rep());
        Ok((told(get(cx.data()).exists(&bucket, &key.to_str(&cx)?)?),))
    })?;
    store.func_wrap(
        "[method]bucket.list-keys",
        move |mut cx: Cx<'_, T>, (bucket, cursor): (Resource<Bucket>, Option<WasmStr>)| {
            let _span = span(&mut cx, get, Operation::ListKeys, bucket.rep());
            let cursor = cursor.map(|cursor| cursor.to_str(&cx)).transpose()?;
            Ok((told(get(cx.data()).list_keys(&bucket, cursor.as_deref())?).map(KeyResponse::from),))
        },
    )
}

fn add_atomics<T: 'static>(linker: &mut Linker<T>, get: fn(&T) -> &Client) -> wasmtime::Result<()> {
    type Cx<'a, T> = StoreContextMut<'a, T>;
    let mut atomics = linker.instance(ATOMICS)?;
    let cas = ResourceType::host::<Cas>();
    atomics.resource("cas", cas, move |cx, rep| get(cx.data()).cas_drop(rep))?;
    atomics.func_wrap(
        "[static]cas.new",
        move |mut cx: Cx<'_, T>, (bucket, key): (Resource<Bucket>, WasmStr)| {
            let _span = span(&mut cx, get, Operation::CasNew, bucket.rep());
            Ok((told(get(cx.data()).cas_new(&bucket, &key.to_str(&cx)?)?),))
        },
    )?;
    atomics.func_wrap("[method]cas.current", move |cx: Cx<'_, T>, (cas,): (Resource<Cas>,)| {
        Ok((Ok::<_, StoreError>(get(cx.data()).cas_current(&cas)?),))
    })?;
    atomics.func_wrap(
        "increment",
        move |mut cx: Cx<'_, T>, (bucket, key, delta): (Resource<Bucket>, WasmStr, i64)| {
            let _span = span(&mut cx, get, Operation::Increment, bucket.rep());
            Ok((told(get(cx.data()).increment(&bucket, &key.to_str(&cx)?, delta)?),))
        },
    )?;
    atomics.func_wrap("swap", move |mut cx: Cx<'_, T>, (cas, value): (Resource<Cas>, WasmList<u8>)| {
        let store = get(cx.data()).cas_store(&cas)?;
        let _span = span(&mut cx, get, Operation::Swap, store);
        let swapped = get(cx.data()).swap(cas, value.as_le_slice(&cx))?;
        Ok((swapped.map_err(CasError::from),))
    })
}

fn add_batch<T: 'static>(linker: &mut Linker<T>, get: fn(&T) -> &Client) -> wasmtime::Result<()> {
    type Cx<'a, T> = StoreContextMut<'a, T>;
    let mut batch = linker.instance(BATCH)?;
    batch.func_wrap(
        "get-many",
        move |mut cx: Cx<'_, T>, (bucket, keys): (Resource<Bucket>, Vec<String>)| {
            let _span = span(&mut cx, get, Operation::GetMany, bucket.rep());
            Ok((told(get(cx.data()).get_many(&bucket, keys)?),))
        },
    )?;
    batch.func_wrap(
        "set-many",
        move |mut cx: Cx<'_, T>, (bucket, pairs): (Resource<Bucket>, Vec<(String, Bytes)>)| {
            let _span = span(&mut cx, get, Operation::SetMany, bucket.rep());
            Ok((told(get(cx.data()).set_many(&bucket, pairs)?),))
        },
    )?;
    batch.func_wrap(
        "delete-many",
        move |mut cx: Cx<'_, T>, (bucket, keys): (Resource<Bucket>, Vec<String>)| {
            let _span = span(&mut cx, get, Operation::DeleteMany, bucket.rep());
            Ok((told(get(cx.data()).delete_many(&bucket, keys)?),))
        },
    )
}
