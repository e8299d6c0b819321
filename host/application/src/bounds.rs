//! The limits of a component: the host's flags, or the manifest's values where they are stricter
//! (`docs/decisions/0036-a-manifest-cannot-widen-a-limit.md`).

use std::{num::NonZeroUsize, time::Duration};

use wasi_http_host_core::{ByteSize, InvalidSetting, Period};
use wasi_http_host_manifest::{Manifest, OwnLimits};
use wasi_http_host_runtime::{self as runtime, InstanceConfig, Kind, RequestConfig, engine::PoolCapacity};

/// Requests that an instance of a service serves before it is replaced, unless a flag says otherwise.
const SERVICE_REQUESTS: usize = 10_000;

/// The limits of one component in the whole process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of linear memory of an instance.
    pub max_memory: ByteSize,
    /// The longest time from a request to the head of its response.
    pub request_timeout: Period,
    response_timeout: Period,
    /// Requests in flight in the whole process.
    pub max_concurrent_requests: usize,
    /// Requests that may wait for admission.
    pub max_queued_requests: usize,
    instances: usize,
    concurrency: usize,
}

impl Bounds {
    /// Takes the lesser of the flag and the manifest's value for each limit. The manifest comes with the component
    /// and cannot raise a limit of the host's operator. If the manifest asks for more, a warning is logged.
    pub fn new(instances: &InstanceConfig, requests: &RequestConfig, name: &str, own: &OwnLimits) -> Self {
        Self {
            max_memory: stricter(name, "max-memory", instances.max_memory, own.max_memory),
            request_timeout: stricter(name, "request-timeout", requests.request_timeout, own.request_timeout),
            response_timeout: requests.response_timeout,
            max_concurrent_requests: stricter(
                name,
                "max-concurrent-requests",
                requests.max_concurrent_requests,
                own.max_concurrent_requests,
            )
            .get(),
            max_queued_requests: stricter(
                name,
                "max-queued-requests",
                requests.max_queued_requests,
                own.max_queued_requests,
            ),
            instances: usize::try_from(
                stricter(name, "max-instances", instances.max_instances, own.max_instances).get(),
            )
            .unwrap_or(usize::MAX),
            concurrency: stricter(
                name,
                "instance-max-concurrency",
                instances.instance_max_concurrency,
                own.instance_max_concurrency,
            )
            .get(),
        }
    }

    /// The most instances in the whole process. At least one for each thread, because a thread without an instance
    /// could not serve.
    pub fn instances(&self, threads: usize) -> usize {
        self.instances.max(threads)
    }

    /// The most instances in the whole process, if each takes this many shares of the pool.
    pub fn shared_instances(&self, threads: usize, shares: u32) -> usize {
        self.instances(threads) / usize::try_from(shares).unwrap_or(usize::MAX).max(1)
    }

    /// The limits on thread number `at` of `threads`. Each instance takes `shares` of the pool. Set `waiting` if an
    /// instance may block on a remote key-value store.
    pub fn on(
        &self,
        config: &InstanceConfig,
        (at, threads): (usize, usize),
        kind: Kind,
        shares: u32,
        waiting: bool,
    ) -> runtime::Limits {
        // Instances are divided evenly; the first threads get the remainder.
        let all = self.shared_instances(threads, shares);
        let (instances, remainder) = (all / threads.max(1), all % threads.max(1));
        let (concurrency, requests) = match kind {
            Kind::Service => (self.concurrency, SERVICE_REQUESTS),
            // A call of `wasi:http@0.2` occupies its instance until the call returns, and tool chains of that version
            // expect a fresh instance for each request
            // (`docs/decisions/0038-a-fresh-instance-for-each-request-of-wasi-02.md`).
            Kind::Proxy => (1, 1),
        };
        let max_calls = config.instance_max_requests.map_or(requests, NonZeroUsize::get);
        runtime::Limits {
            instances: instances + usize::from(at < remainder),
            concurrency,
            at_once: if waiting { 1 } else { concurrency.min(max_calls) },
            max_calls,
            idle: config.instance_idle_timeout.get(),
            background: config.background_timeout.get(),
            request: self.request(),
            response: self.response(),
        }
    }

    /// The longest time from a request to the head of its response.
    pub fn request(&self) -> Duration {
        self.request_timeout.get()
    }

    /// The longest time from the head of a response to the end of its body.
    pub fn response(&self) -> Duration {
        self.response_timeout.get()
    }
}

/// The pool's size for the instances of `manifest`. Each component may have its own maximum without taking space from
/// another.
///
/// # Errors
/// The sum is larger than [`PoolCapacity::MAX`].
pub fn pool_capacity(config: &InstanceConfig, manifest: &Manifest) -> Result<PoolCapacity, InvalidSetting> {
    let flag = config.max_instances.get();
    let threads = u32::try_from(config.thread_count()).unwrap_or(u32::MAX);
    let own = manifest.components.iter().map(|component| component.limits.max_instances);
    let each = own.map(|own| own.map_or(flag, |own| own.get().min(flag)).max(threads));
    let least = each.fold(0, u32::saturating_add).max(1);
    let components = u32::try_from(manifest.components.len()).unwrap_or(u32::MAX).max(1);
    if least > PoolCapacity::MAX {
        return Err(InvalidSetting {
            name: "--max-instances",
            reason: format!(
                "{components} component(s) may have {least} instances together, over the limit of {} for a process: \
                 lower it, or the components' own max-instances",
                PoolCapacity::MAX
            ),
        });
    }
    // The wanted size depends only on the flag, because a manifest that is loaded later may have other limits.
    let wanted = flag.saturating_mul(components);
    Ok(PoolCapacity { least, wanted: wanted.clamp(least, PoolCapacity::MAX) })
}

fn stricter<T: PartialOrd + std::fmt::Display>(component: &str, name: &str, flag: T, own: Option<T>) -> T {
    match own {
        Some(own) if own <= flag => own,
        Some(own) => {
            tracing::warn!(
                component,
                "{name} = {own} in the manifest is more than --{name} {flag}: the host uses the flag's value"
            );
            flag
        }
        None => flag,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU32;

    #[test]
    fn a_manifest_can_only_be_stricter_than_the_flags() {
        let instances = InstanceConfig { max_memory: ByteSize::mib(64), ..InstanceConfig::default() };
        let requests = RequestConfig::default();
        let own = OwnLimits {
            max_memory: Some(ByteSize::mib(128)),
            max_instances: NonZeroU32::new(3),
            request_timeout: Some(Period::secs(1)),
            ..OwnLimits::default()
        };
        let bounds = Bounds::new(&instances, &requests, "one", &own);
        assert_eq!(bounds.max_memory, ByteSize::mib(64));
        assert_eq!(bounds.request_timeout, Period::secs(1));
        assert_eq!(bounds.max_concurrent_requests, requests.max_concurrent_requests.get());
        assert_eq!(bounds.instances(2), 3);
    }

    #[test]
    fn instances_are_shared_out_and_no_thread_is_left_without() {
        let config = InstanceConfig::default();
        let bounds = |instances| {
            let own = OwnLimits { max_instances: NonZeroU32::new(instances), ..OwnLimits::default() };
            Bounds::new(&config, &RequestConfig::default(), "one", &own)
        };
        let shares = |instances, threads| -> Vec<_> {
            let bounds = bounds(instances);
            (0..threads)
                .map(|at| bounds.on(&config, (at, threads), Kind::Service, 1, false).instances)
                .collect()
        };
        assert_eq!(shares(5, 2), [3, 2]);
        assert_eq!(shares(1, 3), [1, 1, 1]);
    }

    #[test]
    fn a_component_with_large_instances_has_fewer_of_them() {
        let config = InstanceConfig::default();
        let bounds = Bounds::new(&config, &RequestConfig::default(), "one", &OwnLimits::default());
        let instances = |at| bounds.on(&config, (at, 2), Kind::Service, 7, false).instances;
        assert_eq!((instances(0), instances(1)), (18, 18), "a seventh of 256");
    }

    #[test]
    fn there_is_room_for_what_each_component_may_have_or_the_setting_is_named() {
        let manifest = |components, own: &[u32]| {
            let mut manifest = Manifest::bare("app.wasm".as_ref());
            manifest.components = vec![manifest.components[0].clone(); components];
            for (component, own) in manifest.components.iter_mut().zip(own) {
                component.limits.max_instances = NonZeroU32::new(*own);
            }
            manifest
        };
        let capacity = |flag, manifest| {
            let max_instances = NonZeroU32::new(flag).unwrap();
            pool_capacity(
                &InstanceConfig { max_instances, threads: NonZeroUsize::new(2), ..InstanceConfig::default() },
                &manifest,
            )
        };
        assert_eq!(capacity(256, manifest(1, &[])), Ok(PoolCapacity { least: 256, wanted: 256 }));
        // At least one instance for each thread, and never more than the flag.
        assert_eq!(capacity(10, manifest(3, &[1, 5, 50])), Ok(PoolCapacity { least: 17, wanted: 30 }));
        assert_eq!(capacity(256, manifest(31, &[])).unwrap().least, 31 * 256);
        let error = capacity(256, manifest(64, &[])).unwrap_err();
        assert_eq!(error.name, "--max-instances");
        assert!(error.reason.contains("64 component(s) may have 16384 instances"), "{error}");
        assert_eq!(
            capacity(256, manifest(64, &[8; 64])).unwrap(),
            PoolCapacity { least: 512, wanted: PoolCapacity::MAX }
        );
    }

    #[test]
    fn a_proxy_serves_one_call_at_a_time() {
        let config = InstanceConfig::default();
        let bounds = Bounds::new(&config, &RequestConfig::default(), "one", &OwnLimits::default());
        assert_eq!(bounds.on(&config, (0, 1), Kind::Proxy, 1, false).concurrency, 1);
        assert_eq!(bounds.on(&config, (0, 1), Kind::Service, 1, true).at_once, 1);
    }

    #[test]
    fn an_instance_is_counted_on_for_no_more_calls_than_it_serves_in_its_life() {
        let config =
            InstanceConfig { instance_max_requests: Some(NonZeroUsize::MIN), ..InstanceConfig::default() };
        let bounds = Bounds::new(&config, &RequestConfig::default(), "one", &OwnLimits::default());
        let limits = bounds.on(&config, (0, 1), Kind::Service, 1, false);
        assert_eq!((limits.max_calls, limits.at_once), (1, 1));
        assert!(limits.concurrency > 1);
    }
}
