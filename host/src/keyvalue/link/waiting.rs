//! The same interface where a call may have to wait for a remote store; what is known is answered without.

use super::super::client::{Bucket, Cas, Client, check_key, check_keys, check_pairs, check_value};
use super::super::{Error, Operation};
use super::{ATOMICS, BATCH, CasError, STORE};
use bytes::Bytes;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource, ResourceType, WasmList, WasmStr};

type Cx<'a, T> = StoreContextMut<'a, T>;
type KeyArgs = (Resource<Bucket>, WasmStr);

pub(super) fn add_to_linker<T: Send + 'static>(
    linker: &mut Linker<T>,
    get: fn(&T) -> &Client,
) -> wasmtime::Result<()> {
    add_store(linker, get)?;
    add_atomics(linker, get)?;
    add_batch(linker, get)
}

fn add_store<T: Send + 'static>(linker: &mut Linker<T>, get: fn(&T) -> &Client) -> wasmtime::Result<()> {
    let mut store = linker.instance(STORE)?;
    store.resource("bucket", ResourceType::host::<Bucket>(), |_, _| Ok(()))?;
    store.func_wrap("open", move |cx: Cx<'_, T>, (name,): (WasmStr,)| {
        Ok((get(cx.data()).open(&name.to_str(&cx)?),))
    })?;
    store.func_wrap_async("[method]bucket.get", move |cx: Cx<'_, T>, (bucket, key): KeyArgs| {
        Box::new(async move {
            let key = key.to_str(&cx)?;
            // Nothing is copied and nobody waits for what is known.
            if let Some(answer) = get(cx.data()).known(bucket.rep(), &key) {
                return Ok((answer,));
            }
            let key = key.into_owned();
            let (task, store) = get(cx.data()).task(Operation::Get, bucket.rep())?;
            Ok((task.run(check_key(&key), store.get(&key)).await,))
        })
    })?;
    store.func_wrap_async(
        "[method]bucket.set",
        move |cx: Cx<'_, T>, (bucket, key, value): (Resource<Bucket>, WasmStr, WasmList<u8>)| {
            Box::new(async move {
                let key = key.to_str(&cx)?.into_owned();
                let value = value.as_le_slice(&cx);
                let check = check_key(&key).and_then(|()| check_value(&key, value));
                let value = if check.is_ok() { Bytes::copy_from_slice(value) } else { Bytes::new() };
                let (task, store) = get(cx.data()).task(Operation::Set, bucket.rep())?;
                Ok((task.run(check, store.set(&key, value)).await,))
            })
        },
    )?;
    store.func_wrap_async("[method]bucket.delete", move |cx: Cx<'_, T>, (bucket, key): KeyArgs| {
        Box::new(async move {
            let key = key.to_str(&cx)?.into_owned();
            let (task, store) = get(cx.data()).task(Operation::Delete, bucket.rep())?;
            Ok((task.run(check_key(&key), store.delete(&key)).await,))
        })
    })?;
    store.func_wrap_async("[method]bucket.exists", move |cx: Cx<'_, T>, (bucket, key): KeyArgs| {
        Box::new(async move {
            let key = key.to_str(&cx)?;
            if let Some(answer) = get(cx.data()).known_exists(bucket.rep(), &key) {
                return Ok((answer,));
            }
            let key = key.into_owned();
            let (task, store) = get(cx.data()).task(Operation::Exists, bucket.rep())?;
            Ok((task.run(check_key(&key), store.exists(&key)).await,))
        })
    })?;
    store.func_wrap_async(
        "[method]bucket.list-keys",
        move |cx: Cx<'_, T>, (bucket, cursor): (Resource<Bucket>, Option<WasmStr>)| {
            Box::new(async move {
                let cursor = match cursor {
                    Some(cursor) => Some(cursor.to_str(&cx)?.into_owned()),
                    None => None,
                };
                let (task, store) = get(cx.data()).task(Operation::ListKeys, bucket.rep())?;
                Ok((task.run(Ok(()), store.list_keys(cursor.as_deref())).await,))
            })
        },
    )
}

fn add_atomics<T: Send + 'static>(linker: &mut Linker<T>, get: fn(&T) -> &Client) -> wasmtime::Result<()> {
    let mut atomics = linker.instance(ATOMICS)?;
    let cas = ResourceType::host::<Cas>();
    atomics.resource("cas", cas, move |cx, rep| get(cx.data()).cas_drop(rep))?;
    atomics.func_wrap_async(
        "[static]cas.new",
        move |cx: Cx<'_, T>, (bucket, key): (Resource<Bucket>, WasmStr)| {
            Box::new(async move {
                let key: Box<str> = key.to_str(&cx)?.into();
                let (task, store) = get(cx.data()).task(Operation::CasNew, bucket.rep())?;
                let seen = task.run(check_key(&key), store.snapshot(&key)).await;
                let store = bucket.rep();
                Ok((seen.and_then(|seen| get(cx.data()).cas_push(Cas { store, key, seen })),))
            })
        },
    )?;
    atomics.func_wrap("[method]cas.current", move |cx: Cx<'_, T>, (cas,): (Resource<Cas>,)| {
        Ok((Ok::<_, Error>(get(cx.data()).cas_current(&cas)?),))
    })?;
    atomics.func_wrap_async(
        "increment",
        move |cx: Cx<'_, T>, (bucket, key, delta): (Resource<Bucket>, WasmStr, i64)| {
            Box::new(async move {
                let key = key.to_str(&cx)?.into_owned();
                let (task, store) = get(cx.data()).task(Operation::Increment, bucket.rep())?;
                Ok((task.run(check_key(&key), store.increment(&key, delta)).await,))
            })
        },
    )?;
    atomics.func_wrap_async("swap", move |cx: Cx<'_, T>, (cas, value): (Resource<Cas>, WasmList<u8>)| {
        Box::new(async move {
            let cas = get(cx.data()).cas_take(cas)?;
            let value = value.as_le_slice(&cx);
            let check = check_value(&cas.key, value);
            let value = if check.is_ok() { Bytes::copy_from_slice(value) } else { Bytes::new() };
            let (task, store) = get(cx.data()).task(Operation::Swap, cas.store)?;
            let swapped = task.run(check, store.swap(&cas.key, &cas.seen, value)).await;
            Ok((get(cx.data()).swapped(cas, swapped).map_err(CasError::from),))
        })
    })
}

fn add_batch<T: Send + 'static>(linker: &mut Linker<T>, get: fn(&T) -> &Client) -> wasmtime::Result<()> {
    let mut batch = linker.instance(BATCH)?;
    batch.func_wrap_async(
        "get-many",
        move |cx: Cx<'_, T>, (bucket, keys): (Resource<Bucket>, Vec<String>)| {
            Box::new(async move {
                if let Some(answer) = get(cx.data()).known_many(bucket.rep(), &keys) {
                    return Ok((answer,));
                }
                let (task, store) = get(cx.data()).task(Operation::GetMany, bucket.rep())?;
                Ok((task.run(check_keys(&keys), store.get_many(keys)).await,))
            })
        },
    )?;
    batch.func_wrap_async(
        "set-many",
        move |cx: Cx<'_, T>, (bucket, pairs): (Resource<Bucket>, Vec<(String, Bytes)>)| {
            Box::new(async move {
                let (task, store) = get(cx.data()).task(Operation::SetMany, bucket.rep())?;
                Ok((task.run(check_pairs(&pairs), store.set_many(pairs)).await,))
            })
        },
    )?;
    batch.func_wrap_async(
        "delete-many",
        move |cx: Cx<'_, T>, (bucket, keys): (Resource<Bucket>, Vec<String>)| {
            Box::new(async move {
                let (task, store) = get(cx.data()).task(Operation::DeleteMany, bucket.rep())?;
                Ok((task.run(check_keys(&keys), store.delete_many(keys)).await,))
            })
        },
    )
}
