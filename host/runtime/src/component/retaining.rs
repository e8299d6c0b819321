//! The functions of `wasi:http/types` that keep what a guest or an upstream sent. All are wasmtime's. Before each call,
//! the host charges the bytes to the instance's budget (`host_bytes.rs`).

use wasmtime::{
    StoreContextMut,
    component::{ComponentNamedList, ComponentType, Lift, Linker, LinkerInstance, Lower, Resource},
};
use wasmtime_wasi_http::{
    FieldMap, WasiHttpCtxView, WasiHttpView as _,
    p2::{
        bindings::http::types as p2,
        body::{HostFutureTrailers, HostIncomingBody, HostOutgoingBody},
        types as p2_resources,
    },
    p3::{self, bindings::http::types as p3_types},
};

use super::{future_errors, response_body};
use crate::{
    guest::Guest,
    host_bytes::{self, BODY_BYTES, INPUT_BYTES, MAX_FIELDS_BYTES, RESPONSE_CHUNK},
};

/// The versions that wasmtime links. wasmtime also gives them to components that import earlier releases.
const TYPES_P2: &str = "wasi:http/types@0.2.12";
const TYPES_P3: &str = "wasi:http/types@0.3.0";

type Store<'a> = StoreContextMut<'a, Guest>;
type Fields = Resource<FieldMap>;
type Entries = Vec<(String, Vec<u8>)>;
type OutgoingRequest = Resource<p2_resources::HostOutgoingRequest>;
type OutgoingBody = Result<Resource<HostOutgoingBody>, ()>;
type Arrived = Option<Result<Result<Resource<p2_resources::HostIncomingResponse>, p2::ErrorCode>, ()>>;

/// Links the functions of `fields`. Both versions have them, with types and errors of their own.
macro_rules! add_fields {
    ($to:expr, $version:ident) => {{
        use $version::{Host, HostFields};

        charged(
            $to,
            "[static]fields.from-list",
            |_, (entries,): &(Entries,)| entries_bytes(entries),
            |http, (entries,)| {
                let made = HostFields::from_list(http, entries);
                told(http, made, |http, error| Host::convert_header_error(http, error))
            },
        )?;
        charged(
            $to,
            "[method]fields.set",
            |_, (_, name, values): &(Fields, String, Vec<Vec<u8>>)| values_bytes(name, values),
            |http, (fields, name, values)| {
                let set = HostFields::set(http, fields, name, values);
                told(http, set, |http, error| Host::convert_header_error(http, error))
            },
        )?;
        charged(
            $to,
            "[method]fields.append",
            |_, (_, name, value): &(Fields, String, Vec<u8>)| {
                host_bytes::field_bytes(name.len(), value.len())
            },
            |http, (fields, name, value)| {
                let added = HostFields::append(http, fields, name, value);
                told(http, added, |http, error| Host::convert_header_error(http, error))
            },
        )?;
        charged($to, "[method]fields.clone", clone_bytes, |http, (fields,)| HostFields::clone(http, fields))
    }};
}

/// Replaces the functions in a linker that has wasmtime's.
pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut types = linker.instance(TYPES_P2)?;
    add_fields!(&mut types, p2)?;
    add_p2_messages(&mut types)?;
    let mut p3 = linker.instance(TYPES_P3)?;
    add_p3(&mut p3)?;
    future_errors::add_to_linker(&mut p3)?;
    response_body::add_to_linker(&mut p3)?;
    linker.allow_shadowing(false);
    Ok(())
}

/// Links a function that charges `bytes` of its arguments before `call`.
fn charged<P, R>(
    to: &mut LinkerInstance<'_, Guest>,
    name: &str,
    bytes: impl Fn(&mut WasiHttpCtxView<'_>, &P) -> usize + Send + Sync + 'static,
    call: impl Fn(&mut WasiHttpCtxView<'_>, P) -> wasmtime::Result<R> + Send + Sync + 'static,
) -> wasmtime::Result<()>
where
    P: ComponentNamedList + Lift + 'static,
    R: ComponentType + Lower + Send + Sync + 'static,
{
    to.func_wrap(name, move |mut store: Store<'_>, arguments: P| {
        let guest = store.data_mut();
        let added = bytes(&mut guest.http(), &arguments);
        guest.charge(added)?;
        Ok((call(&mut guest.http(), arguments)?,))
    })
}

fn entries_bytes(entries: &Entries) -> usize {
    entries.iter().map(|(name, value)| host_bytes::field_bytes(name.len(), value.len())).sum()
}

fn values_bytes(name: &str, values: &[Vec<u8>]) -> usize {
    values.iter().map(|value| host_bytes::field_bytes(name.len(), value.len())).sum()
}

fn text_bytes(text: &Option<String>) -> usize {
    text.as_ref().map_or(0, String::len)
}

/// Tells the guest an error, unless the error is a trap.
fn told<T, E, C>(
    http: &mut WasiHttpCtxView<'_>,
    result: Result<T, E>,
    convert: impl FnOnce(&mut WasiHttpCtxView<'_>, E) -> wasmtime::Result<C>,
) -> wasmtime::Result<Result<T, C>> {
    match result {
        Ok(done) => Ok(Ok(done)),
        Err(error) => Ok(Err(convert(http, error)?)),
    }
}

fn add_p2_messages(to: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    use p2::{HostFutureIncomingResponse, HostOutgoingRequest, HostOutgoingResponse};

    charged(
        to,
        "[method]outgoing-request.set-method",
        |_, (_, method): &(OutgoingRequest, p2::Method)| host_bytes::method_bytes(method),
        |http, (request, method)| HostOutgoingRequest::set_method(http, request, method),
    )?;
    charged(
        to,
        "[method]outgoing-request.set-authority",
        |_, (_, authority): &(OutgoingRequest, Option<String>)| text_bytes(authority),
        |http, (request, authority)| HostOutgoingRequest::set_authority(http, request, authority),
    )?;
    charged(
        to,
        "[method]outgoing-request.set-path-with-query",
        |_, (_, path): &(OutgoingRequest, Option<String>)| text_bytes(path),
        |http, (request, path)| HostOutgoingRequest::set_path_with_query(http, request, path),
    )?;
    charged(
        to,
        "[method]outgoing-request.body",
        |_, _: &(OutgoingRequest,)| BODY_BYTES,
        |http, (request,)| -> wasmtime::Result<OutgoingBody> { HostOutgoingRequest::body(http, request) },
    )?;
    charged(
        to,
        "[method]outgoing-response.body",
        |_, _: &(Resource<p2_resources::HostOutgoingResponse>,)| BODY_BYTES,
        |http, (response,)| -> wasmtime::Result<OutgoingBody> { HostOutgoingResponse::body(http, response) },
    )?;
    charged(
        to,
        "[method]future-incoming-response.get",
        |_, _: &(Resource<p2_resources::HostFutureIncomingResponse>,)| MAX_FIELDS_BYTES + RESPONSE_CHUNK,
        |http, (response,)| -> wasmtime::Result<Arrived> { HostFutureIncomingResponse::get(http, response) },
    )?;
    charged(
        to,
        "[static]incoming-body.finish",
        |_, _: &(Resource<HostIncomingBody>,)| MAX_FIELDS_BYTES + INPUT_BYTES,
        |http, (body,)| -> wasmtime::Result<Resource<HostFutureTrailers>> {
            p2::HostIncomingBody::finish(http, body)
        },
    )
}

fn add_p3(to: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    use p3_types::{HostRequest, Method};

    type Request = Resource<p3::Request>;

    add_fields!(&mut *to, p3_types)?;
    charged(
        to,
        "[method]request.set-method",
        |_, (_, method): &(Request, Method)| match method {
            Method::Other(name) => name.len(),
            _ => 0,
        },
        |http, (request, method)| HostRequest::set_method(http, request, method),
    )?;
    charged(
        to,
        "[method]request.set-authority",
        |_, (_, authority): &(Request, Option<String>)| text_bytes(authority),
        |http, (request, authority)| HostRequest::set_authority(http, request, authority),
    )?;
    charged(
        to,
        "[method]request.set-path-with-query",
        |_, (_, path): &(Request, Option<String>)| text_bytes(path),
        |http, (request, path)| HostRequest::set_path_with_query(http, request, path),
    )
}

/// A clone shares its fields with the original until one of the two changes.
fn clone_bytes(http: &mut WasiHttpCtxView<'_>, (fields,): &(Fields,)) -> usize {
    http.table.get(fields).map_or(0, |fields| host_bytes::fields_bytes(fields))
}
