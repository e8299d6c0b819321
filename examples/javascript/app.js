import { getEnvironment } from "wasi:cli/environment@0.2.10";
import { get as setting } from "wasi:config/store@0.2.0-draft-2024-09-27";
import { open } from "wasi:keyvalue/store@0.2.0-draft2";
import { increment } from "wasi:keyvalue/atomics@0.2.0-draft2";

const text = (body, status = 200) => new Response(body, { status, headers: { "content-type": "text/plain" } });

/** Lines, each made when the one before it has gone. */
function lines(count) {
  const encoder = new TextEncoder();
  let line = 0;
  return new ReadableStream({
    pull(controller) {
      if (line === count) return controller.close();
      controller.enqueue(encoder.encode(`line ${line++}\n`));
    },
  });
}

async function relay(url) {
  try {
    const answer = await fetch(url);
    return text(`${answer.status} ${await answer.text()}`);
  } catch (error) {
    return text(`not fetched: ${error}`, 502);
  }
}

async function answer(request) {
  const url = new URL(request.url);
  const [behaviour, argument] = url.pathname.slice(1).split("/");
  switch (behaviour) {
    case "":
      return text("Hello from JavaScript");
    case "echo":
      return new Response(request.body, { headers: { "content-type": request.headers.get("content-type") } });
    case "lines":
      return text(lines(Number(argument)));
    case "relay":
      return relay(url.searchParams.get("url"));
    case "environment":
      return text(new Map(getEnvironment()).get("GREETING"));
    case "setting":
      return text(setting("greeting"));
    case "count":
      return text(String(increment(open("default"), "visits", 1n)));
    case "sleep":
      await new Promise((done) => setTimeout(done, Number(argument)));
      return text("slept");
    case "log":
      console.log("said on stdout");
      console.error("said on stderr");
      return text("logged");
    case "fail":
      throw new Error("on purpose");
    case "spin":
      for (;;);
    case "allocate":
      for (const kept = []; ; ) kept.push(new Uint8Array(1 << 20).fill(1));
    default:
      return text("no such behaviour", 404);
  }
}

addEventListener("fetch", (event) => event.respondWith(answer(event.request)));
