//! The faults, in the order of the run.

mod clients;
mod clock;
mod code_cache;
mod descriptors;
mod guests;
mod hosts;
mod log;
mod names;
mod redis;
mod response_cache;
mod upstream;

use crate::fault::Fault;

/// Makes the table of faults.
macro_rules! faults {
    ($($name:literal: $about:literal => $($function:ident)::+,)+) => {
        /// All faults.
        pub(crate) const ALL: &[Fault] = &[
            $(Fault { name: $name, about: $about, run: || Box::pin($($function)::+()) },)+
        ];
    };
}

faults! {
    "redis-killed": "Redis is killed under load and comes back empty" => redis::killed,
    "redis-silent": "Redis stops answering (SIGSTOP) and goes on" => redis::silent,
    "redis-flapping": "Redis cuts all connections, again and again" => redis::flapping,
    "redis-full": "Redis has no memory left, and refuses to write" => redis::full,
    "redis-readonly": "Redis has become a replica, and refuses to write" => redis::readonly,
    "upstream-slow": "GitHub responds late, or a byte at a time" => upstream::slow,
    "upstream-lying": "GitHub sends wrong lengths, resets, garbage and endless bodies" => upstream::lying,
    "upstream-gone": "GitHub is down, and comes back" => upstream::gone,
    "dns-failing": "the name server fails, sends garbage, and does not respond" => names::failing,
    "code-cache-full": "the disk for compiled code is full" => code_cache::full,
    "code-cache-limited": "files of compiled code may not grow (ulimit -f)" => code_cache::limited,
    "code-cache-damaged": "files of compiled code are damaged" => code_cache::damaged,
    "read-only-files": "the home directory and /tmp are read-only" => code_cache::read_only,
    "descriptors": "the process may open no more files" => descriptors::exhausted,
    "idle-crowd": "more idle connections than the process may have" => descriptors::crowd,
    "memory-ceiling": "many guests at once want more memory than they may have" => guests::memory,
    "traps": "a request in a hundred traps, each instance serving one at a time" => guests::traps,
    "traps-shared": "a request in a hundred traps, and instances serve many requests at once" => guests::traps_shared,
    "clock-steps": "the clock jumps an hour ahead, and back, and back again" => clock::steps,
    "lease-holder-killed": "kill -9 of the host that holds the lease and asks GitHub" => hosts::lease_holder,
    "host-killed": "kill -9 of one of two hosts under load" => hosts::killed,
    "host-terminated": "SIGTERM of one of two hosts under load" => hosts::terminated,
    "log-closed": "the reader of the log has closed the pipe" => log::closed,
    "log-unread": "nobody reads the log's pipe" => log::unread,
    "slow-clients": "a thousand clients send a byte a second" => clients::slow,
    "herd": "hundreds of clients while the host starts" => clients::herd,
    "cached-upstream-gone": "GitHub is down, and comes back, behind the response cache" => upstream::gone_behind_cache,
    "cached-host-terminated": "SIGTERM of one of two hosts with response caches" => hosts::terminated_with_cache,
    "cached-origin-gone": "the origin of a stale response is down, beyond the response's time" => response_cache::origin_gone,
    "cached-origin-silent": "the same, and the origin does not answer" => response_cache::origin_silent,
    "cached-clock-steps": "the clock jumps ahead and back while responses are stored" => response_cache::steps,
    "cached-purges": "purges and invalidations in a flood of addresses" => response_cache::purges,
    "cached-reloads": "the component is replaced again and again under load" => response_cache::reloads,
}
