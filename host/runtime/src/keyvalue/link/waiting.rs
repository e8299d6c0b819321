//! The same interface where a call may have to wait for a remote store; what is known is answered without.

use super::super::client::{Bucket, Cas, Client, check_key, check_keys, check_pairs, check_value, span};
use super::{ATOMICS, BATCH, CasError, KeyResponse, STORE, StoreError, told};
use bytes::Bytes;
use wasi_http_host_keyvalue::Operation;
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
        Ok((told(get(cx.data()).open(&name.to_str(&cx)?)),))
    })?;
    store.func_wrap_async("[method]bucket.get", move |mut cx: Cx<'_, T>, (bucket, key): KeyArgs| {
        Box::new(async move {
            let mut span = span(&mut cx, get, Operation::Get, bucket.rep());
            let key = key.to_str(&cx)?;
            // Nothing is copied and nobody waits for what is known.
            if let Some(answer) = get(cx.data()).known(bucket.rep(), &key) {
                if let Some(span) = &mut span {
                    span.set_known();
                }
                return Ok((told(answer),));
            }
            let key = key.into_owned();
            let (task, store) = get(cx.data()).task(Operation::Get, bucket.rep(), span)?;
            Ok((told(task.run(check_key(&key), store.get(&key)).await),))
        })
    })?;
    store.func_wrap_async(
        "[method]bucket.set",
        move |mut cx: Cx<'_, T>, (bucket, key, value): (Resource<Bucket>, WasmStr, WasmList<u8>)| {
            Box::new(async move {
                let key = key.to_str(&cx)?.into_owned();
                let value = value.as_le_slice(&cx);
                let check = check_key(&key).and_then(|()| check_value(&key, value));
                let value = if check.is_ok() { Bytes::copy_from_slice(value) } else { Bytes::new() };
                let span = span(&mut cx, get, Operation::Set, bucket.rep());
                let (task, store) = get(cx.data()).task(Operation::Set, bucket.rep(), span)?;
                Ok((told(task.run(check, store.set(&key, value)).await),))
            })
        },
    )?;
    store.func_wrap_async("[method]bucket.delete", move |mut cx: Cx<'_, T>, (bucket, key): KeyArgs| {
        Box::new(async move {
            let key = key.to_str(&cx)?.into_owned();
            let span = span(&mut cx, get, Operation::Delete, bucket.rep());
            let (task, store) = get(cx.data()).task(Operation::Delete, bucket.rep(), span)?;
            Ok((told(task.run(check_key(&key), store.delete(&key)).await),))
        })
    })?;
    store.func_wrap_async("[method]bucket.exists", move |mut cx: Cx<'_, T>, (bucket, key): KeyArgs| {
        Box::new(async move {
            let mut span = span(&mut cx, get, Operation::Exists, bucket.rep());
            let key = key.to_str(&cx)?;
            if let Some(answer) = get(cx.data()).known_exists(bucket.rep(), &key) {
                if let Some(span) = &mut span {
                    span.set_known();
                }
                return Ok((told(answer),));
            }
            let key = key.into_owned();
            let (task, store) = get(cx.data()).task(Operation::Exists, bucket.rep(), span)?;
            Ok((told(task.run(check_key(&key), store.exists(&key)).await),))
        })
    })?;
    store.func_wrap_async(
        "[method]bucket.list-keys",
        move |mut cx: Cx<'_, T>, (bucket, cursor): (Resource<Bucket>, Option<WasmStr>)| {
            Box::new(async move {
                let cursor = match cursor {
                    Some(cursor) => Some(cursor.to_str(&cx)?.into_owned()),
                    None => None,
                };
                let span = span(&mut cx, get, Operation::ListKeys, bucket.rep());
                let (task, store) = get(cx.data()).task(Operation::ListKeys, bucket.rep(), span)?;
                Ok((told(task.run(Ok(()), store.list_keys(cursor.as_deref())).await).map(KeyResponse::from),))
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
        move |mut cx: Cx<'_, T>, (bucket, key): (Resource<Bucket>, WasmStr)| {
            Box::new(async move {
                let key: Box<str> = key.to_str(&cx)?.into();
                let span = span(&mut cx, get, Operation::CasNew, bucket.rep());
                let (task, store) = get(cx.data()).task(Operation::CasNew, bucket.rep(), span)?;
                let seen = task.run(check_key(&key), store.snapshot(&key)).await;
                let store = bucket.rep();
                Ok((told(seen.and_then(|seen| get(cx.data()).cas_push(Cas { store, key, seen }))),))
            })
        },
    )?;
    atomics.func_wrap("[method]cas.current", move |cx: Cx<'_, T>, (cas,): (Resource<Cas>,)| {
        Ok((Ok::<_, StoreError>(get(cx.data()).cas_current(&cas)?),))
    })?;
    atomics.func_wrap_async(
        "increment",
        move |mut cx: Cx<'_, T>, (bucket, key, delta): (Resource<Bucket>, WasmStr, i64)| {
            Box::new(async move {
                let key = key.to_str(&cx)?.into_owned();
                let span = span(&mut cx, get, Operation::Increment, bucket.rep());
                let (task, store) = get(cx.data()).task(Operation::Increment, bucket.rep(), span)?;
                Ok((told(task.run(check_key(&key), store.increment(&key, delta)).await),))
            })
        },
    )?;
    atomics.func_wrap_async("swap", move |mut cx: Cx<'_, T>, (cas, value): (Resource<Cas>, WasmList<u8>)| {
        Box::new(async move {
            let cas = get(cx.data()).cas_take(cas)?;
            let value = value.as_le_slice(&cx);
            let check = check_value(&cas.key, value);
            let value = if check.is_ok() { Bytes::copy_from_slice(value) } else { Bytes::new() };
            let span = span(&mut cx, get, Operation::Swap, cas.store);
            let (task, store) = get(cx.data()).task(Operation::Swap, cas.store, span)?;
            let swapped = task.run(check, store.swap(&cas.key, &cas.seen, value)).await;
            Ok((get(cx.data()).swapped(cas, swapped).map_err(CasError::from),))
        })
    })
}

fn add_batch<T: Send + 'static>(linker: &mut Linker<T>, get: fn(&T) -> &Client) -> wasmtime::Result<()> {
    let mut batch = linker.instance(BATCH)?;
    batch.func_wrap_async(
        "get-many",
        move |mut cx: Cx<'_, T>, (bucket, keys): (Resource<Bucket>, Vec<String>)| {
            Box::new(async move {
                let mut span = span(&mut cx, get, Operation::GetMany, bucket.rep());
                if let Some(answer) = get(cx.data()).known_many(bucket.rep(), &keys) {
                    if let Some(span) = &mut span {
                        span.set_known();
                    }
                    return Ok((told(answer),));
                }
                let (task, store) = get(cx.data()).task(Operation::GetMany, bucket.rep(), span)?;
                Ok((told(task.run(check_keys(&keys), store.get_many(keys)).await),))
            })
        },
    )?;
    batch.func_wrap_async(
        "set-many",
        move |mut cx: Cx<'_, T>, (bucket, pairs): (Resource<Bucket>, Vec<(String, Bytes)>)| {
            Box::new(async move {
                let span = span(&mut cx, get, Operation::SetMany, bucket.rep());
                let (task, store) = get(cx.data()).task(Operation::SetMany, bucket.rep(), span)?;
                Ok((told(task.run(check_pairs(&pairs), store.set_many(pairs)).await),))
            })
        },
    )?;
    batch.func_wrap_async(
        "delete-many",
        move |mut cx: Cx<'_, T>, (bucket, keys): (Resource<Bucket>, Vec<String>)| {
            Box::new(async move {
                let span = span(&mut cx, get, Operation::DeleteMany, bucket.rep());
                let (task, store) = get(cx.data()).task(Operation::DeleteMany, bucket.rep(), span)?;
                Ok((told(task.run(check_keys(&keys), store.delete_many(keys)).await),))
            })
        },
    )
}
