//! Links operations: the one place that counts an operation, traces it, asks the store and waits for the answer.

use std::{future::ready, task::Poll};

use wasi_http_host_keyvalue::{Answer, AnswerFuture, Error, KeyValueSpan, Operation, Running, Store};
use wasmtime::{
    StoreContextMut,
    component::{ComponentNamedList, Lift, LinkerInstance, Lower, Resource},
};

use super::client::{Bucket, Client, OnWait, span};

/// An interface in a linker.
pub(super) struct Functions<'a, T: 'static> {
    pub(super) instance: LinkerInstance<'a, T>,
    /// A store may answer later: functions are asynchronous.
    pub(super) waits: bool,
    /// Finds the client in the data of the wasmtime store.
    pub(super) get: fn(&T) -> &Client,
}

/// What a function returns to the guest.
type Returned<R> = wasmtime::Result<(R,)>;

/// Arguments that begin with a bucket.
pub(super) trait BucketArguments {
    /// The index of the bucket's store.
    fn bucket(&self) -> u32;
}

impl<A> BucketArguments for (Resource<Bucket>, A) {
    fn bucket(&self) -> u32 {
        self.0.rep()
    }
}

impl<A, B> BucketArguments for (Resource<Bucket>, A, B) {
    fn bucket(&self) -> u32 {
        self.0.rep()
    }
}

/// An operation whose store has been asked. `S` is what it keeps until the answer comes.
struct Asked<S, A> {
    running: Running,
    span: Option<KeyValueSpan>,
    state: S,
    answer: Answer<A>,
}

impl<T: Send + 'static> Functions<'_, T> {
    /// Links an operation on a bucket: `ask` reads the arguments and asks the store, `reply` makes what the guest gets.
    pub(super) fn on_bucket<P, A, R, E>(
        &mut self,
        name: &str,
        operation: Operation,
        ask: impl Fn(&StoreContextMut<'_, T>, &dyn Store, P) -> wasmtime::Result<Answer<A>>
        + Copy
        + Send
        + Sync
        + 'static,
        reply: impl Fn(A) -> R + Copy + Send + Sync + 'static,
    ) -> wasmtime::Result<()>
    where
        P: BucketArguments + ComponentNamedList + Lift + Send + 'static,
        (Result<R, E>,): ComponentNamedList + Lower + Send + 'static,
        A: Send + 'static,
        R: 'static,
        E: From<Error> + 'static,
    {
        self.operation(
            name,
            operation,
            |_, arguments: &P| Ok(arguments.bucket()),
            move |cx, _, store, arguments| Ok(((), ask(cx, store, arguments)?)),
            move |_, (), answer| Ok(reply(answer)),
            |result| result.map_err(E::from),
        )
    }

    /// Links an operation:
    /// - `bucket` finds the index of the store in the arguments.
    /// - `ask` reads the arguments and asks the store. It also returns what to keep until the answer comes.
    /// - `finish` takes that and the answer. An error of its counts as an error of the operation.
    /// - `tell` makes what the guest gets.
    pub(super) fn operation<P, S, A, B, R>(
        &mut self,
        name: &str,
        operation: Operation,
        bucket: impl Fn(&Client, &P) -> wasmtime::Result<u32> + Copy + Send + Sync + 'static,
        ask: impl Fn(&StoreContextMut<'_, T>, &Client, &dyn Store, P) -> wasmtime::Result<(S, Answer<A>)>
        + Copy
        + Send
        + Sync
        + 'static,
        finish: impl Fn(&Client, S, A) -> Result<B, Error> + Copy + Send + Sync + 'static,
        tell: impl Fn(Result<B, Error>) -> R + Copy + Send + Sync + 'static,
    ) -> wasmtime::Result<()>
    where
        P: ComponentNamedList + Lift + Send + 'static,
        (R,): ComponentNamedList + Lower + Send + 'static,
        S: Send + 'static,
        A: Send + 'static,
        B: 'static,
        R: 'static,
    {
        let get = self.get;
        let begin = move |cx: &mut StoreContextMut<'_, T>, arguments: P| {
            let bucket = bucket(get(cx.data()), &arguments)?;
            let span = span(cx, get, operation, bucket);
            let client = get(cx.data());
            let running = client.stats.begin(operation);
            let (state, answer) = ask(cx, client, client.store(bucket)?, arguments)?;
            wasmtime::Result::Ok(Asked { running, span, state, answer })
        };
        let end = move |client: &Client, running, span: Option<KeyValueSpan>, state, answer| {
            let result = Result::and_then(answer, |answer| finish(client, state, answer));
            client.stats.end(running, &result);
            if let (Err(_), Some(mut span)) = (&result, span) {
                span.set_failed();
            }
            (tell(result),)
        };
        if !self.waits {
            return self.instance.func_wrap(name, move |mut cx: StoreContextMut<'_, T>, arguments: P| {
                let Asked { running, span, state, answer } = begin(&mut cx, arguments)?;
                match answer {
                    Answer::Ready(answer) => Ok(end(get(cx.data()), running, span, state, answer)),
                    Answer::Pending(_) => Err(wasmtime::format_err!("a local store did not answer at once")),
                }
            });
        }
        self.instance.func_wrap_async(name, move |mut cx: StoreContextMut<'_, T>, arguments: P| {
            match begin(&mut cx, arguments) {
                Ok(Asked { running, mut span, state, answer: Answer::Ready(answer) }) => {
                    if let Some(span) = &mut span {
                        span.set_known();
                    }
                    Box::new(ready(Returned::Ok(end(get(cx.data()), running, span, state, answer))))
                }
                Ok(Asked { mut running, span, state, answer: Answer::Pending(future) }) => {
                    running.waits();
                    let on_wait = get(cx.data()).on_wait.clone();
                    Box::new(async move {
                        let answer = wait(future, &on_wait).await;
                        Ok(end(get(cx.data()), running, span, state, answer))
                    })
                }
                Err(error) => Box::new(ready(Err(error))),
            }
        })
    }
}

/// Waits for an answer, and says so meanwhile.
async fn wait<A>(mut future: AnswerFuture<A>, on_wait: &OnWait) -> Result<A, Error> {
    if let Poll::Ready(answer) = futures::poll!(future.as_mut()) {
        return answer;
    }
    let _waiting = Waiting::begin(on_wait);
    future.await
}

/// Ends also when the call is cancelled.
struct Waiting<'a>(&'a OnWait);

impl<'a> Waiting<'a> {
    fn begin(on_wait: &'a OnWait) -> Self {
        on_wait(true);
        Self(on_wait)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        (self.0)(false);
    }
}
