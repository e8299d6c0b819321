//! The commands for each operation, and how their replies are read.

use crate::{Error, KeyPage, PAGE_KEYS, Snapshot, Swap};
use bytes::Bytes;
use redis::{
    Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, RedisResult, Value, cmd, from_redis_value,
};
use std::sync::OnceLock;

/// What to send, and how to read the reply.
pub(super) struct Command<R> {
    pub(super) request: Request,
    pub(super) read: Box<dyn FnOnce(Value) -> RedisResult<R> + Send>,
}

pub(super) enum Request {
    One(Cmd),
    /// Several commands in one write and one read. `Pipeline::atomic` makes them a transaction.
    Many(Pipeline),
    /// A script with a key and arguments: by its digest, or in full where the server does not know it.
    Script(&'static redis::Script, Vec<Vec<u8>>),
}

impl<R: FromRedisValue + 'static> Command<R> {
    fn plain(request: Request) -> Self {
        Self { request, read: Box::new(|value| Ok(from_redis_value(value)?)) }
    }
}

impl<R: 'static> Command<R> {
    fn mapped<V: FromRedisValue + 'static>(
        request: Request,
        map: impl FnOnce(V) -> R + Send + 'static,
    ) -> Self {
        Self { request, read: Box::new(|value| Ok(map(from_redis_value(value)?))) }
    }
}

pub(super) fn get(key: String) -> Command<Option<Bytes>> {
    Command::mapped(Request::One(cmd("GET").arg(key).take()), |value: Option<Vec<u8>>| value.map(Bytes::from))
}

pub(super) fn set(key: String, value: &[u8], ttl: u64) -> Command<()> {
    Command::plain(Request::One(cmd("SET").arg(key).arg(value).arg("PX").arg(ttl).take()))
}

pub(super) fn delete(keys: Vec<String>) -> Command<()> {
    Command::mapped(Request::One(cmd("DEL").arg(keys).take()), |_gone: u64| ())
}

pub(super) fn exists(key: String) -> Command<bool> {
    Command::plain(Request::One(cmd("EXISTS").arg(key).take()))
}

/// A transaction: Redis carries out no other client's command between the two. `PEXPIRE` renews the time to live.
pub(super) fn increment(key: String, delta: i64, ttl: u64) -> Command<i64> {
    let mut both = Pipeline::new();
    both.atomic().cmd("INCRBY").arg(&key).arg(delta).cmd("PEXPIRE").arg(key).arg(ttl);
    Command::mapped(Request::Many(both), |(sum, _renewed): (i64, i64)| sum)
}

pub(super) fn get_many(keys: Vec<String>) -> Command<Vec<Option<Bytes>>> {
    Command::mapped(Request::One(cmd("MGET").arg(keys).take()), |values: Vec<Option<Vec<u8>>>| {
        values.into_iter().map(|value| value.map(Bytes::from)).collect()
    })
}

/// Several `SET`s and not `MSET`, which has no time to live.
pub(super) fn set_many<'a>(pairs: impl Iterator<Item = (String, &'a Bytes)>, ttl: u64) -> Command<()> {
    let mut all = Pipeline::new();
    for (key, value) in pairs {
        all.cmd("SET").arg(key).arg(&**value).arg("PX").arg(ttl).ignore();
    }
    Command { request: Request::Many(all), read: Box::new(|_| Ok(())) }
}

/// One page. `cursor` is Redis's own, as text. A key that exists during the whole iteration is in at least one page, and may be
/// in two.
pub(super) fn scan(prefix: &str, cursor: Option<&str>) -> Result<Command<KeyPage>, Error> {
    let cursor: u64 = match cursor {
        Some(text) => text
            .parse()
            .map_err(|_| Error::other(format_args!("the cursor does not come from this store")))?,
        None => 0,
    };
    let pattern = format!("{}*", escape(prefix));
    let scan = cmd("SCAN").arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(PAGE_KEYS).take();
    let prefix = prefix.to_owned();
    Ok(Command::mapped(Request::One(scan), move |(cursor, keys): (u64, Vec<Vec<u8>>)| {
        let keys = keys.into_iter().filter_map(|key| {
            // A key that is not UTF-8 was not written by a component.
            Some(String::from_utf8(key).ok()?.strip_prefix(&*prefix)?.to_owned())
        });
        KeyPage { keys: keys.collect(), cursor: (cursor != 0).then(|| cursor.to_string()) }
    }))
}

/// The prefix as a glob pattern that matches only itself.
fn escape(prefix: &str) -> String {
    let mut escaped = String::with_capacity(prefix.len());
    for c in prefix.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '\\' | '^' | '-') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// A compare-and-swap can miss a change from A to B and back to A. To detect most of these, the snapshot also stores the key's
/// expiry time (`PEXPIRETIME`), which every write renews. Two writes in the same millisecond are not told apart. A server before
/// 7.0 does not know the command: then only values are compared. `WATCH` would be exact, but needs one connection for each open
/// handle.
const STATE: &str = r"
local function state(key)
  local now = redis.call('GET', key)
  if not now then return nil, 0 end
  local ends = redis.pcall('PEXPIRETIME', key)
  if type(ends) ~= 'number' or ends < 0 then ends = 0 end
  return now, ends
end";

/// Returns the state, or an empty array for an absent key.
const SNAPSHOT: &str = r"
local now, ends = state(KEYS[1])
if now then return {now, ends} end
return {}";

/// Compares and stores in one step. Returns 1 when it has stored, or 0 and the state that it found.
const SWAP: &str = r"
local now, ends = state(KEYS[1])
local same
if ARGV[1] == 'absent' then same = not now else same = now == ARGV[2] and ends == tonumber(ARGV[3]) end
if same then
  redis.call('SET', KEYS[1], ARGV[4], 'PX', ARGV[5])
  return {1}
end
if now then return {0, now, ends} end
return {0}";

pub(super) fn snapshot(key: String) -> Command<Snapshot> {
    static SCRIPT: OnceLock<redis::Script> = OnceLock::new();
    let script = SCRIPT.get_or_init(|| redis::Script::new(&format!("{STATE}{SNAPSHOT}")));
    Command {
        request: Request::Script(script, vec![key.into_bytes()]),
        read: Box::new(|value| match value {
            Value::Array(state) => read_state(state.into_iter()),
            _ => Err(unexpected()),
        }),
    }
}

pub(super) fn swap(key: String, seen: &Snapshot, value: &[u8], ttl: u64) -> Command<Swap> {
    static SCRIPT: OnceLock<redis::Script> = OnceLock::new();
    let script = SCRIPT.get_or_init(|| redis::Script::new(&format!("{STATE}{SWAP}")));
    let was = if seen.value.is_some() { "present" } else { "absent" };
    let arguments = vec![
        key.into_bytes(),
        was.into(),
        seen.value.as_deref().unwrap_or_default().to_vec(),
        seen.version.to_string().into_bytes(),
        value.to_vec(),
        ttl.to_string().into_bytes(),
    ];
    Command {
        request: Request::Script(script, arguments),
        read: Box::new(|value| {
            let Value::Array(answer) = value else { return Err(unexpected()) };
            let mut answer = answer.into_iter();
            match answer.next() {
                Some(Value::Int(1)) => Ok(Swap::Done),
                Some(Value::Int(0)) => Ok(Swap::Stale(read_state(answer)?)),
                _ => Err(unexpected()),
            }
        }),
    }
}

fn read_state(mut state: impl Iterator<Item = Value>) -> RedisResult<Snapshot> {
    match (state.next(), state.next()) {
        (None, _) => Ok(Snapshot { version: 0, value: None }),
        (Some(Value::BulkString(value)), Some(Value::Int(ends))) => {
            Ok(Snapshot { version: ends.unsigned_abs(), value: Some(value.into()) })
        }
        _ => Err(unexpected()),
    }
}

fn unexpected() -> RedisError {
    (ErrorKind::UnexpectedReturnType, "the script returned an unexpected value").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_matches_itself_only() {
        assert_eq!(escape("a*b?[c]\\"), "a\\*b\\?\\[c\\]\\\\");
    }

    #[test]
    fn a_foreign_cursor_is_an_error() {
        assert!(scan("", Some("not a number")).is_err());
    }
}
