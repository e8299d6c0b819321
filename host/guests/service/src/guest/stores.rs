//! Key-value stores.

use spin_sdk::wit_bindgen;

use super::{bindings::keyvalue, clock::wait};

/// Carries out `{operation}/{store}/{key}`, with commas between several keys. Returns the result in Rust's debug format.
pub(super) fn call(call: &str, value: &str) -> String {
    let mut parts = call.splitn(3, '/').map(str::to_owned);
    let mut next = || parts.next().unwrap_or_default();
    let (operation, store, key) = (next(), next(), next());
    let keys: Vec<String> = key.split(',').map(str::to_owned).collect();
    let utf8 = |value: Vec<u8>| String::from_utf8_lossy(&value).into_owned();
    let bucket = match keyvalue::store::open(&store) {
        Ok(bucket) => bucket,
        Err(error) => return format!("{error:?}"),
    };
    match &*operation {
        "get" => format!("{:?}", bucket.get(&key).map(|value| value.map(utf8))),
        "set" => format!("{:?}", bucket.set(&key, value.as_bytes())),
        "delete" => format!("{:?}", bucket.delete(&key)),
        "exists" => format!("{:?}", bucket.exists(&key)),
        "increment" => {
            format!("{:?}", keyvalue::atomics::increment(&bucket, &key, value.parse().unwrap_or(1)))
        }
        // Returns `lost` when another writer has changed the value meanwhile.
        "append" => match keyvalue::atomics::Cas::new(&bucket, &key) {
            Ok(cas) => {
                let mut now = cas.current().ok().flatten().unwrap_or_default();
                now.extend_from_slice(value.as_bytes());
                match keyvalue::atomics::swap(cas, &now) {
                    Ok(()) => "Ok(())".to_owned(),
                    Err(keyvalue::atomics::CasError::CasFailed(_)) => "lost".to_owned(),
                    Err(keyvalue::atomics::CasError::StoreError(error)) => format!("Err({error:?})"),
                }
            }
            Err(error) => format!("Err({error:?})"),
        },
        "get-many" => {
            let values = keyvalue::batch::get_many(&bucket, &keys);
            let values =
                values.map(|all| all.into_iter().map(|pair| (pair.0, pair.1.map(utf8))).collect::<Vec<_>>());
            format!("{values:?}")
        }
        "set-many" => {
            let pairs: Vec<_> = keys.into_iter().map(|key| (key, value.as_bytes().to_vec())).collect();
            format!("{:?}", keyvalue::batch::set_many(&bucket, &pairs))
        }
        "delete-many" => format!("{:?}", keyvalue::batch::delete_many(&bucket, &keys)),
        "list" => match bucket.list_keys(None) {
            Ok(page) => format!("{:?}", page.keys),
            Err(error) => format!("{error:?}"),
        },
        _ => format!("no operation {operation:?}"),
    }
}

/// Returns the value of a key in the default store.
pub(super) fn get(key: &str) -> String {
    let bucket = keyvalue::store::open("default").expect("the store is granted");
    let value = bucket.get(key).expect("the store answers").unwrap_or_default();
    String::from_utf8_lossy(&value).into_owned()
}

/// Continues after the response: after `ms` milliseconds, sets the key `background`.
pub(super) fn set_later(ms: u64) {
    wit_bindgen::spawn(async move {
        wait(ms).await;
        let bucket = keyvalue::store::open("default").expect("the store is granted");
        bucket.set("background", b"done").expect("the store takes it");
    });
}
