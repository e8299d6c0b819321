//! The most memory that the process takes, by its limits.

use std::sync::Arc;

use wasi_http_host_application::Generation;
use wasi_http_host_core::{Gauge, InvalidSetting};
use wasi_http_host_runtime::{MOST_RESPONSE_BYTES, engine::WARM_BYTES};

use crate::config::Config;

/// Code, the runtime, threads, metrics and the log.
const BASE_BYTES: u64 = 64 << 20;

/// The limits of the process, from which the sum for a generation is made.
pub(crate) struct MemoryLimits {
    config: Arc<Config>,
    stores: u64,
}

impl MemoryLimits {
    /// # Errors
    /// A setting of a store is not valid.
    pub(crate) fn new(config: Arc<Config>) -> Result<Self, InvalidSetting> {
        let stores = config.keyvalue.most_bytes()?;
        Ok(Self { config, stores })
    }

    /// Logs the sum for `generation` if it is not the one in `gauge`, and puts it there.
    pub(crate) fn report(&self, generation: &Generation, gauge: &Gauge) {
        let bound = self.bound(generation);
        let bytes = i64::try_from(bound.bytes()).unwrap_or(i64::MAX);
        if gauge.get() != bytes {
            gauge.set(bytes);
            bound.log();
        }
    }

    fn bound(&self, generation: &Generation) -> MemoryBound {
        let Self { config, stores } = self;
        let threads = config.application.instances.thread_count();
        let mut bound = MemoryBound {
            instances: WARM_BYTES,
            requests: 0,
            connections: product(config.server.max_connections.get(), config.server.most_connection_bytes()),
            outbound: 0,
            stores: *stores,
            response_cache: config.application.response_cache.most_bytes(),
        };
        for deployment in generation.deployments() {
            let bounds = &deployment.bounds;
            bound.instances = bound.instances.saturating_add(deployment.most_instance_bytes(threads));
            let request = config.server.most_request_bytes();
            let running =
                product(bounds.max_concurrent_requests, request.saturating_add(MOST_RESPONSE_BYTES));
            // As many requests may wait for the response of another one.
            let queues = if deployment.space.is_some() { 2 } else { 1 };
            let queued = product(bounds.max_queued_requests, request).saturating_mul(queues);
            bound.requests = bound.requests.saturating_add(running).saturating_add(queued);
            bound.outbound = bound.outbound.saturating_add(config.application.outbound.most_bytes());
        }
        bound
    }
}

/// The most bytes of each part of the process. Idle outbound connections are not included.
#[derive(Clone, Copy)]
struct MemoryBound {
    instances: u64,
    requests: u64,
    connections: u64,
    outbound: u64,
    stores: u64,
    response_cache: u64,
}

impl MemoryBound {
    /// The sum.
    fn bytes(self) -> u64 {
        let Self { instances, requests, connections, outbound, stores, response_cache } = self;
        [instances, requests, connections, outbound, stores, response_cache]
            .into_iter()
            .fold(BASE_BYTES, u64::saturating_add)
    }

    /// Logs the sum and its parts.
    fn log(self) {
        let mib = |bytes: u64| bytes.div_ceil(1 << 20);
        tracing::info!(
            instances_mib = mib(self.instances),
            requests_mib = mib(self.requests),
            connections_mib = mib(self.connections),
            outbound_mib = mib(self.outbound),
            stores_mib = mib(self.stores),
            response_cache_mib = mib(self.response_cache),
            other_mib = mib(BASE_BYTES),
            "the process takes at most {} MiB of memory, if it uses all of its limits at once",
            mib(self.bytes())
        );
    }
}

fn product(count: usize, bytes: u64) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX).saturating_mul(bytes)
}
