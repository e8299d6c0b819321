//! The flags of instances, of requests and their admission, and of compiled code.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    path::PathBuf,
};

use clap::Args;
use wasi_http_host_core::{ByteSize, InvalidSetting, Period};
use wasi_http_host_manifest::{LEAST_MEMORY, LEAST_REQUEST_TIMEOUT};

/// The largest memory limit of an instance: all that 32-bit addresses reach, which is what the pool reserves for each
/// memory.
const LARGEST_MEMORY: ByteSize = ByteSize::mib(4096);

/// Where the host keeps compiled code.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Compiled code")]
pub struct CodeConfig {
    /// Directory for compiled code [default: wasi-http-host in the user's cache directory]
    #[arg(long, value_name = "DIR", env = "WASI_HTTP_HOST_CACHE_DIR")]
    pub cache_dir: Option<PathBuf>,
    /// Compile at each start, and do not keep the compiled code
    #[arg(long, env = "WASI_HTTP_HOST_NO_CACHE")]
    pub no_cache: bool,
}

/// The number of instances, and the limits of each.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Instances")]
pub struct InstanceConfig {
    /// Threads that serve requests [default: one for each core]
    #[arg(long, value_name = "N", env = "WASI_HTTP_HOST_THREADS")]
    pub threads: Option<NonZeroUsize>,
    /// The most instances at the same time, divided evenly among the threads
    #[arg(long, value_name = "N", env = "WASI_HTTP_HOST_MAX_INSTANCES", default_value_t = InstanceConfig::default().max_instances)]
    pub max_instances: NonZeroU32,
    /// The most linear memory of an instance, all its memories together. At most 4GiB
    #[arg(long, value_name = "BYTES", env = "WASI_HTTP_HOST_MAX_MEMORY", default_value_t = InstanceConfig::default().max_memory)]
    pub max_memory: ByteSize,
    /// Requests that an instance serves before it is replaced [default: 10000, or 1 for a proxy of wasi:http 0.2, whose
    /// tool chains expect a fresh instance for each request]
    #[arg(long, value_name = "N", env = "WASI_HTTP_HOST_INSTANCE_MAX_REQUESTS")]
    pub instance_max_requests: Option<NonZeroUsize>,
    /// The most requests that an instance serves at the same time
    #[arg(long, value_name = "N", env = "WASI_HTTP_HOST_INSTANCE_MAX_CONCURRENCY", default_value_t = InstanceConfig::default().instance_max_concurrency)]
    pub instance_max_concurrency: NonZeroUsize,
    /// How long an instance without work is kept
    #[arg(long, value_name = "DUR", env = "WASI_HTTP_HOST_INSTANCE_IDLE_TIMEOUT", default_value_t = InstanceConfig::default().instance_idle_timeout)]
    pub instance_idle_timeout: Period,
    /// How long a component's background tasks may run after its last response is complete
    #[arg(long, value_name = "DUR", env = "WASI_HTTP_HOST_BACKGROUND_TIMEOUT", default_value_t = InstanceConfig::default().background_timeout)]
    pub background_timeout: Period,
}

/// How long a request may take, and how many requests there may be.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Requests")]
pub struct RequestConfig {
    /// The longest time from a request's head to its response's head, including time in the queue; then the answer is
    /// 503 or 504
    #[arg(long, value_name = "DUR", env = "WASI_HTTP_HOST_REQUEST_TIMEOUT", default_value_t = RequestConfig::default().request_timeout)]
    pub request_timeout: Period,
    /// The longest time for a complete response body
    #[arg(long, value_name = "DUR", env = "WASI_HTTP_HOST_RESPONSE_TIMEOUT", default_value_t = RequestConfig::default().response_timeout)]
    pub response_timeout: Period,
    /// The most requests in flight at the same time
    #[arg(long, value_name = "N", env = "WASI_HTTP_HOST_MAX_CONCURRENT_REQUESTS", default_value_t = RequestConfig::default().max_concurrent_requests)]
    pub max_concurrent_requests: NonZeroUsize,
    /// The most requests that may wait for admission; more are answered with 503
    #[arg(long, value_name = "N", env = "WASI_HTTP_HOST_MAX_QUEUED_REQUESTS", default_value_t = RequestConfig::default().max_queued_requests)]
    pub max_queued_requests: usize,
    /// How long a request may wait for admission; then the answer is 503
    #[arg(long, value_name = "DUR", env = "WASI_HTTP_HOST_QUEUE_TIMEOUT", default_value_t = RequestConfig::default().queue_timeout)]
    pub queue_timeout: Period,
}

impl Default for InstanceConfig {
    fn default() -> Self {
        Self {
            threads: None,
            max_instances: const { NonZeroU32::new(256).unwrap() },
            max_memory: ByteSize::mib(128),
            instance_max_requests: None,
            instance_max_concurrency: const { NonZeroUsize::new(32).unwrap() },
            instance_idle_timeout: Period::secs(30),
            background_timeout: Period::secs(30),
        }
    }
}

impl Default for RequestConfig {
    fn default() -> Self {
        Self {
            request_timeout: Period::secs(30),
            response_timeout: Period::secs(300),
            max_concurrent_requests: const { NonZeroUsize::new(1024).unwrap() },
            max_queued_requests: 1024,
            queue_timeout: Period::secs(5),
        }
    }
}

impl InstanceConfig {
    /// The number of threads that serve: `--threads`, or one for each core. Never more than `--max-instances`,
    /// because a thread without an instance could not serve.
    #[must_use]
    pub fn thread_count(&self) -> usize {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let instances = usize::try_from(self.max_instances.get()).unwrap_or(usize::MAX);
        self.threads.map_or(cores, usize::from).min(instances)
    }

    /// Checks the combinations of values that clap cannot check.
    ///
    /// # Errors
    /// Names the setting that is not valid.
    pub fn validate(&self) -> Result<(), InvalidSetting> {
        let refused = |reason| Err(InvalidSetting { name: "--max-memory", reason });
        if self.max_memory < LEAST_MEMORY {
            return refused(format!("{} is less than one page ({LEAST_MEMORY})", self.max_memory));
        }
        if self.max_memory > LARGEST_MEMORY {
            return refused(format!("{} is more than {LARGEST_MEMORY}", self.max_memory));
        }
        Ok(())
    }
}

impl RequestConfig {
    /// Checks the combinations of values that clap cannot check.
    ///
    /// # Errors
    /// Names the first setting that is not valid.
    pub fn validate(&self) -> Result<(), InvalidSetting> {
        InvalidSetting::check_period("--request-timeout", self.request_timeout, LEAST_REQUEST_TIMEOUT)?;
        InvalidSetting::check_period("--response-timeout", self.response_timeout, Period::millis(10))
    }
}
