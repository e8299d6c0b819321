//! What the cache counts.

use wasi_http_host_core::labelled_counters;

labelled_counters! {
    /// How the cache took part in a response.
    Outcome, OutcomeCounters {
        /// A fresh stored response answered.
        Hit = "hit",
        /// A stale stored response answered: while it is refreshed, or in place of an error.
        Stale = "stale",
        /// A stored response answered, after the component had validated it.
        Validated = "validated",
        /// The response to another request, which was in flight, answered.
        Collapsed = "collapsed",
        /// The component answered, because nothing stored could.
        Miss = "miss",
        /// The component answered, because the cache does not answer such requests.
        Bypass = "bypass",
    }
}
