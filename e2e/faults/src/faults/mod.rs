//! The faults, in the order in which they are run.

mod clients;
mod clock;
mod code_cache;
mod descriptors;
mod guests;
mod hosts;
mod log;
mod names;
mod redis;
mod upstream;

use crate::fault::Fault;

/// Names each fault by its function.
macro_rules! faults {
    ($($name:literal: $about:literal => $($function:ident)::+,)+) => {
        /// All of them.
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
    "upstream-slow": "GitHub answers late, or a byte at a time" => upstream::slow,
    "upstream-lying": "GitHub lies about lengths, resets, sends garbage and bodies without end" => upstream::lying,
    "upstream-gone": "GitHub is gone, and returns" => upstream::gone,
    "dns-failing": "the name server fails, lies and falls silent" => names::failing,
    "code-cache-full": "the disk for compiled code is full" => code_cache::full,
    "code-cache-limited": "files of compiled code may not grow (ulimit -f)" => code_cache::limited,
    "code-cache-damaged": "files of compiled code are damaged" => code_cache::damaged,
    "read-only-files": "no home directory, no /tmp that can be written" => code_cache::read_only,
    "descriptors": "the process may open no more files" => descriptors::exhausted,
    "idle-crowd": "more idle connections than the process may have" => descriptors::crowd,
    "memory-ceiling": "many guests at once want more memory than they may have" => guests::memory,
    "traps": "a request in a hundred traps, each instance serving one at a time" => guests::traps,
    "traps-shared": "the same, where instances serve many at once" => guests::traps_shared,
    "clock-steps": "the clock jumps an hour ahead, and back, and back again" => clock::steps,
    "lease-holder-killed": "kill -9 of the host that is asking GitHub for all" => hosts::lease_holder,
    "host-killed": "kill -9 of one of two hosts under load" => hosts::killed,
    "host-terminated": "SIGTERM of one of two hosts under load" => hosts::terminated,
    "log-closed": "whoever reads the log has gone" => log::closed,
    "log-unread": "nobody reads the log's pipe" => log::unread,
    "slow-clients": "a thousand clients send a byte a second" => clients::slow,
    "herd": "hundreds of clients while the host starts" => clients::herd,
}
