//! Tests of bodies within limits, under a paused clock.

use http_body::Frame;
use std::{future::poll_fn, task::Waker};
use tokio::{sync::mpsc, time::sleep};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

type Item = Result<Frame<Bytes>, &'static str>;

/// A body whose frames come through a channel. The body ends when the sender is dropped.
struct Channel(mpsc::UnboundedReceiver<Item>);

impl Body for Channel {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Item>> {
        self.0.poll_recv(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_closed() && self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(7)
    }
}

fn channel() -> (mpsc::UnboundedSender<Item>, Channel) {
    let (frames, channel) = mpsc::unbounded_channel();
    (frames, Channel(channel))
}

fn data(length: usize) -> Item {
    Ok(Frame::data(vec![0; length].into()))
}

type Failure<B> = BodyFailure<<B as Body>::Error>;
type PassOn<B> = fn(&mut B, Failure<B>) -> Failure<B>;

/// A limited body that gives the reader each failure as it is.
fn limited<B: Body<Data = Bytes> + Unpin>(body: B, limits: BodyLimits) -> LimitedBody<B, PassOn<B>> {
    LimitedBody::new(body, limits, |_, failure| failure)
}

/// The next frame's length, or `None` at the end.
async fn next<B: Body<Data = Bytes> + Unpin>(body: &mut B) -> Result<Option<usize>, B::Error> {
    let frame = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await.transpose()?;
    Ok(frame.map(|frame| frame.data_ref().map_or(0, Bytes::len)))
}

fn is_pending<B: Body + Unpin>(body: &mut B) -> bool {
    Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop())).is_pending()
}

#[tokio::test(start_paused = true)]
async fn each_frame_restarts_the_idle_limit() {
    let (frames, body) = channel();
    let mut body = limited(body, BodyLimits { idle: Some(10 * SECOND), ..BodyLimits::default() });
    let start = Instant::now();
    let writer = tokio::spawn(async move {
        for _ in 0..3 {
            sleep(9 * SECOND).await;
            frames.send(data(1)).unwrap();
        }
        frames
    });
    for _ in 0..3 {
        assert_eq!(next(&mut body).await, Ok(Some(1)));
    }
    let _open = writer.await.unwrap();
    assert_eq!(next(&mut body).await, Err(BodyFailure::Idle));
    assert_eq!(start.elapsed(), 37 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn the_idle_limit_does_not_count_while_nobody_reads() {
    let (frames, body) = channel();
    let mut body = limited(body, BodyLimits { idle: Some(10 * SECOND), ..BodyLimits::default() });
    frames.send(data(1)).unwrap();
    sleep(60 * SECOND).await;
    assert_eq!(next(&mut body).await, Ok(Some(1)));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_drips_for_ever_ends_at_the_deadline() {
    for idle in [None, Some(10 * SECOND)] {
        let start = Instant::now();
        let (frames, body) = channel();
        let mut body = limited(body, BodyLimits { size: None, idle, deadline: Some(start + 25 * SECOND) });
        tokio::spawn(async move {
            while frames.send(data(1)).is_ok() {
                sleep(4 * SECOND).await;
            }
        });
        let failure = loop {
            if let Err(failure) = next(&mut body).await {
                break failure;
            }
        };
        assert_eq!((failure, start.elapsed()), (BodyFailure::Deadline, 25 * SECOND), "{idle:?}");
    }
}

/// A slow reader may read the end late. It does not get another frame.
#[tokio::test(start_paused = true)]
async fn after_the_deadline_the_body_may_end_and_not_go_on() {
    let limits = BodyLimits { deadline: Some(Instant::now() + SECOND), ..BodyLimits::default() };
    let (frames, body) = channel();
    let mut going_on = limited(body, limits);
    frames.send(data(1)).unwrap();
    let (frames, body) = channel();
    let mut ended = limited(body, limits);
    drop(frames);
    sleep(SECOND).await;
    assert_eq!(next(&mut going_on).await, Err(BodyFailure::Deadline));
    assert_eq!(next(&mut ended).await, Ok(None));
}

#[tokio::test(start_paused = true)]
async fn data_beyond_the_size_is_refused_and_trailers_do_not_count() {
    let (frames, body) = channel();
    let mut body = limited(body, BodyLimits { size: Some(10), ..BodyLimits::default() });
    for frame in [data(4), data(6), Ok(Frame::trailers(Default::default())), data(0), data(1)] {
        frames.send(frame).unwrap();
    }
    for length in [4, 6, 0, 0] {
        assert_eq!(next(&mut body).await, Ok(Some(length)));
    }
    assert_eq!(next(&mut body).await, Err(BodyFailure::Size(10)));
}

#[tokio::test(start_paused = true)]
async fn a_timer_is_armed_only_while_the_body_is_pending() {
    let (frames, body) = channel();
    let deadline = Some(Instant::now() + SECOND);
    let mut body = limited(body, BodyLimits { size: None, idle: Some(SECOND), deadline });
    frames.send(data(1)).unwrap();
    assert_eq!(next(&mut body).await, Ok(Some(1)));
    assert!(body.timer.is_none(), "nothing was pending");
    assert!(is_pending(&mut body) && body.timer.is_some());
    frames.send(data(1)).unwrap();
    assert_eq!(next(&mut body).await, Ok(Some(1)));
    assert!(body.timer.is_none(), "the frame has come");
}

/// The timer of a deadline is due at the same time after each frame, so it is armed once.
#[tokio::test(start_paused = true)]
async fn a_deadline_arms_one_timer() {
    let (frames, body) = channel();
    let limits = BodyLimits { deadline: Some(Instant::now() + SECOND), ..BodyLimits::default() };
    let mut body = limited(body, limits);
    assert!(is_pending(&mut body));
    let timer = |timer: &Option<Pin<Box<Sleep>>>| timer.as_deref().map(std::ptr::from_ref);
    let armed = timer(&body.timer);
    frames.send(data(1)).unwrap();
    assert_eq!(next(&mut body).await, Ok(Some(1)));
    assert!(armed.is_some() && timer(&body.timer) == armed);
}

#[tokio::test(start_paused = true)]
async fn a_body_without_limits_is_passed_on() {
    let (frames, body) = channel();
    let mut body = limited(body, BodyLimits::default());
    assert!(is_pending(&mut body) && body.timer.is_none());
    assert_eq!((body.is_end_stream(), body.size_hint().exact()), (false, Some(7)));
    frames.send(Err("broken")).unwrap();
    assert_eq!(next(&mut body).await, Err(BodyFailure::Body("broken")));
    drop(frames);
    assert_eq!(next(&mut body).await, Ok(None));
    assert!(body.is_end_stream());
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_recorded_with_the_body() {
    let (frames, body) = channel();
    let limits = BodyLimits { idle: Some(SECOND), ..BodyLimits::default() };
    let mut body = LimitedBody::new(body, limits, |body: &mut Channel, failure| {
        body.0.close();
        matches!(failure, BodyFailure::Idle)
    });
    assert_eq!(next(&mut body).await, Err(true));
    assert!(frames.is_closed());
}

#[tokio::test(start_paused = true)]
async fn a_held_body_is_dropped_at_the_deadline_and_its_reader_is_woken() {
    let (frames, body) = channel();
    let start = Instant::now();
    let deadline = start + 5 * SECOND;
    let held = Held::until(deadline, (body, "its request"), |_| {});
    let mut body = limited(held, BodyLimits { deadline: Some(deadline), ..BodyLimits::default() });
    assert_eq!((body.is_end_stream(), body.size_hint().exact()), (false, Some(7)));
    frames.send(data(1)).unwrap();
    assert_eq!(next(&mut body).await, Ok(Some(1)));
    // Both timers are due, and either may fire first.
    assert_eq!(next(&mut body).await.map_err(BodyFailure::flatten), Err(BodyFailure::Deadline));
    assert_eq!(start.elapsed(), 5 * SECOND);
    frames.closed().await;
    assert_eq!(next(&mut body).await, Err(BodyFailure::Body(BodyFailure::Deadline)));
    assert_eq!((body.is_end_stream(), body.size_hint().exact()), (false, None));
}

#[tokio::test(start_paused = true)]
async fn a_held_body_fails_with_its_own_error() {
    let (frames, body) = channel();
    let mut body = Held::until(Instant::now() + SECOND, (body, ()), |_| {});
    frames.send(Err("broken")).unwrap();
    assert_eq!(next(&mut body).await, Err(BodyFailure::Body("broken")));
}

#[test]
fn bytes_are_added_to_a_hint() {
    let added = |hint, bytes| {
        let hint = add_to_hint(hint, bytes);
        (hint.lower(), hint.upper())
    };
    assert_eq!(added(SizeHint::new(), 0), (0, None));
    assert_eq!(added(SizeHint::new(), 3), (3, None));
    assert_eq!(added(SizeHint::with_exact(7), 3), (10, Some(10)));
    assert_eq!(added(SizeHint::with_exact(u64::MAX), 3), (u64::MAX, Some(u64::MAX)));
}
