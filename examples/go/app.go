// A component of `wasi:http@0.2` on the bindings of its world: each call blocks, which the host makes wait for nobody else.
package export_wasi_http_incoming_handler

import (
	"fmt"
	"io"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	. "go.bytecodealliance.org/pkg/wit/types"
	config "wit_component/wasi_config_store"
	"wit_component/wasi_http_outgoing_handler"
	http "wit_component/wasi_http_types"
	"wit_component/wasi_io_streams"
	"wit_component/wasi_keyvalue_atomics"
	keyvalue "wit_component/wasi_keyvalue_store"
)

func Handle(request *http.IncomingRequest, out *http.ResponseOutparam) {
	at, err := url.Parse(request.PathWithQuery().SomeOr("/"))
	if err != nil {
		text(out, 400, err.Error())
		return
	}
	behaviour, argument, _ := strings.Cut(strings.TrimPrefix(at.Path, "/"), "/")
	number, _ := strconv.Atoi(argument)
	switch behaviour {
	case "":
		text(out, 200, "Hello from Go")
	case "echo":
		echo(request, out)
	case "lines":
		respond(out, 200, "text/plain", func(body *wasi_io_streams.OutputStream) {
			for line := range number {
				fmt.Fprintf(writer{body}, "line %d\n", line)
			}
		})
	case "relay":
		relay(out, at.Query().Get("url"))
	case "environment":
		text(out, 200, os.Getenv("GREETING"))
	case "setting":
		text(out, 200, config.Get("greeting").Ok().SomeOr(""))
	case "count":
		bucket := keyvalue.Open("default").Ok()
		defer bucket.Drop()
		text(out, 200, fmt.Sprint(wasi_keyvalue_atomics.Increment(bucket, "visits", 1).Ok()))
	case "sleep":
		time.Sleep(time.Duration(number) * time.Millisecond)
		text(out, 200, "slept")
	case "log":
		fmt.Println("said on stdout")
		fmt.Fprintln(os.Stderr, "said on stderr")
		text(out, 200, "logged")
	case "fail":
		panic("on purpose")
	case "spin":
		for {
		}
	case "allocate":
		for kept := [][]byte{}; ; {
			kept = append(kept, make([]byte, 1<<20))
		}
	default:
		text(out, 404, "no such behaviour")
	}
}

// The body goes from stream to stream in the host, and is never in this memory.
func echo(request *http.IncomingRequest, out *http.ResponseOutparam) {
	headers := request.Headers()
	contentType := string(headers.Get("content-type")[0])
	headers.Drop()
	received := request.Consume().Ok()
	defer received.Drop()
	from := received.Stream().Ok()
	defer from.Drop()
	respond(out, 200, contentType, func(body *wasi_io_streams.OutputStream) {
		for body.BlockingSplice(from, 1<<16).IsOk() {
		}
	})
}

func relay(out *http.ResponseOutparam, to string) {
	status, body, err := fetch(to)
	if err != nil {
		text(out, 502, "not fetched: "+err.Error())
		return
	}
	text(out, 200, fmt.Sprintf("%d %s", status, body))
}

func fetch(to string) (uint16, []byte, error) {
	at, err := url.Parse(to)
	if err != nil {
		return 0, nil, err
	}
	scheme := http.MakeSchemeHttp()
	if at.Scheme == "https" {
		scheme = http.MakeSchemeHttps()
	}
	request := http.MakeOutgoingRequest(http.MakeFields())
	request.SetScheme(Some(scheme)).Ok()
	request.SetAuthority(Some(at.Host)).Ok()
	request.SetPathWithQuery(Some(at.RequestURI())).Ok()
	sent := wasi_http_outgoing_handler.Handle(request, None[*http.RequestOptions]())
	if sent.IsErr() {
		return 0, nil, failure(sent.Err())
	}
	coming := sent.Ok()
	defer coming.Drop()
	ready := coming.Subscribe()
	ready.Block()
	ready.Drop()
	came := coming.Get().Some().Ok()
	if came.IsErr() {
		return 0, nil, failure(came.Err())
	}
	response := came.Ok()
	defer response.Drop()
	incoming := response.Consume().Ok()
	defer incoming.Drop()
	stream := incoming.Stream().Ok()
	defer stream.Drop()
	body, err := io.ReadAll(reader{stream})
	return response.Status(), body, err
}

// The one case that this program tells of by name; bindings have numbers for the others.
func failure(code http.ErrorCode) error {
	if code.Tag() == http.ErrorCode_HttpRequestDenied {
		return fmt.Errorf("HttpRequestDenied")
	}
	return fmt.Errorf("error code %d", code.Tag())
}

func text(out *http.ResponseOutparam, status uint16, body string) {
	respond(out, status, "text/plain", func(to *wasi_io_streams.OutputStream) {
		io.WriteString(writer{to}, body)
	})
}

// Sends the head, and the body as it is written. What it makes it also drops, last things first, which a garbage collector would not promise.
func respond(out *http.ResponseOutparam, status uint16, contentType string, write func(*wasi_io_streams.OutputStream)) {
	headers := http.MakeFields()
	headers.Append("content-type", []byte(contentType)).Ok()
	response := http.MakeOutgoingResponse(headers)
	response.SetStatusCode(status).Ok()
	body := response.Body().Ok()
	stream := body.Write().Ok()
	http.ResponseOutparamSet(out, Ok[*http.OutgoingResponse, http.ErrorCode](response))
	write(stream)
	stream.Drop()
	http.OutgoingBodyFinish(body, None[*http.Fields]())
}
