package export_wasi_http_incoming_handler

import (
	"errors"
	"io"
	"runtime"
	"runtime/debug"

	"wit_component/wasi_io_streams"
)

// The streams of `wasi:io` as those of Go's library.
type reader struct{ from *wasi_io_streams.InputStream }
type writer struct{ to *wasi_io_streams.OutputStream }

var errStream = errors.New("the stream broke off")

// Bytes between two runs of the collector.
const collectAfter = 4 << 20

var moved int

// The collector asks for the time, and a component may ask for nothing while the host hands it something, which is when it would
// start as a rule. So it runs here, and nowhere else.
func init() { debug.SetGCPercent(-1) }

func collect(bytes int) {
	if moved += bytes; moved >= collectAfter {
		moved = 0
		runtime.GC()
	}
}

func (r reader) Read(into []byte) (int, error) {
	read := r.from.BlockingRead(uint64(len(into)))
	if read.IsOk() {
		copied := copy(into, read.Ok())
		collect(copied)
		return copied, nil
	}
	return 0, ended(read.Err(), io.EOF)
}

func (w writer) Write(from []byte) (int, error) {
	// As much as `wasi:io` takes at once.
	const most = 4096
	for done := 0; done < len(from); done += most {
		wrote := w.to.BlockingWriteAndFlush(from[done:min(done+most, len(from))])
		if wrote.IsErr() {
			return done, ended(wrote.Err(), io.ErrClosedPipe)
		}
	}
	collect(len(from))
	return len(from), nil
}

// What a stream's end is: `closed`, or an error.
func ended(by wasi_io_streams.StreamError, closed error) error {
	if by.Tag() == wasi_io_streams.StreamError_Closed {
		return closed
	}
	by.LastOperationFailed().Drop()
	return errStream
}
