"""Tests of what is read from callgrind's dumps, and of the parts that functions belong to."""

import tempfile
import unittest
from collections import Counter
from pathlib import Path

import callgrind

DUMP = """# callgrind format
version: 1
positions: instr line
events: Ir
summary: 0

ob=(1) /target/release/wasi-http-host
fl=(1) ???
fn=(1) tokio::runtime::task::poll
0x1000 0 10
+3 0 5
cob=(2) ???
cfn=(2) 0x0000000007000000
calls=2 0x7000000 0
+4 0 700
* 0 1

ob=(2)
fn=(2)
0x7000000 0 300
+16 0 40
cob=(1)
cfn=(3) mi_free
calls=1 0x2000 0
-0x8 0 60

ob=(1)
fn=(3)
0x2000 0 60

totals: 416
"""


class Reading(unittest.TestCase):
    def test_a_function_has_its_own_instructions_and_not_those_of_the_functions_that_it_calls(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            dump = Path(directory) / "dump"
            dump.write_text(DUMP)
            profile = callgrind.read(dump)
        self.assertEqual(profile.addresses, {0x7000000: 300, 0x7000010: 40})
        self.assertEqual(
            {part: count for part, count in profile.parts().items() if count},
            {"all": 416, "component's code": 340, "allocator": 60, "tokio": 16},
        )

    def test_what_grows_with_time_is_left_out(self) -> None:
        # 100 instructions a request, and 5 for each millisecond.
        profiles = []
        for requests, seconds in ((1000, 2.0), (400, 4.0)):
            work = Counter({("/program", "tokio::poll"): 100 * requests, ("/program", "mi_free"): round(5000 * seconds)})
            profiles.append(callgrind.Profile(work, Counter(), requests, seconds))
        counted = callgrind.of_requests_alone(*profiles)
        self.assertEqual({part: round(count) for part, count in counted.items() if round(count)}, {"all": 100, "tokio": 100})

    def test_functions_belong_to_the_crate_that_they_name_first(self) -> None:
        for function, part in {
            "wasmtime::runtime::component::func::host::HostFn::entrypoint": "wasmtime",
            "<core::option::Option<T> as wasmtime::runtime::component::func::typed::Lower>::store": "wasmtime",
            "core::ptr::drop_in_place<wasi_http_host_server::exchange::Exchange>": "host's own",
            "<wasi_http_host_keyvalue::stores::memory::MemoryStore as wasi_http_host_keyvalue::store::Store>::get": "host's own",
            "bench_native::service::health": "host's own",
            "<hyper::proto::h1::role::Server as hyper::proto::h1::Http1Transaction>::encode": "hyper",
            "http::header::map::HeaderMap<T>::try_insert2": "hyper",
            "tokio::sync::oneshot::Sender<T>::send": "tokio",
            "mi_theap_malloc_aligned": "allocator",
            "__rustc::__rust_alloc": "allocator",
            "free": "allocator",
            "__memcpy_avx_unaligned_erms": "memcpy and kin",
            "__memcmp_avx2_movbe": "memcpy and kin",
            "core::fmt::write": "rest",
            "https_proxy::connect": "rest",
            "epoll_wait": "rest",
        }.items():
            self.assertEqual(callgrind.part_of("/program", function), part, function)
        self.assertEqual(callgrind.part_of("", "0x0000000007000000"), "component's code")


if __name__ == "__main__":
    unittest.main()
