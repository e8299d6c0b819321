package export_wasi_http_incoming_handler

import (
	"errors"
	"io"

	"wit_component/wasi_io_streams"
)

// The streams of `wasi:io` as those of Go's library.
type reader struct{ from *wasi_io_streams.InputStream }
type writer struct{ to *wasi_io_streams.OutputStream }

var errStream = errors.New("the stream broke off")

func (r reader) Read(into []byte) (int, error) {
	read := r.from.BlockingRead(uint64(len(into)))
	if read.IsOk() {
		return copy(into, read.Ok()), nil
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
