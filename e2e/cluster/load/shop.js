// Visitors of the shop, as k6 runs them: k6 run -e SHOP_URL=https://shop.example.com -e PRODUCT_API_URL=http://localhost:5000 shop.js
// The profile is in shop.json: the stages and thresholds are k6's own options. The cluster tests read the same file (src/profile.rs).
import http from "k6/http";
import { sleep } from "k6";

const profile = JSON.parse(open("./shop.json"));
const bases = {
  page: __ENV.SHOP_URL || "http://localhost:3000",
  api: __ENV.PRODUCT_API_URL || "http://localhost:5000",
};

export const options = profile.options;

export default function () {
  for (const { kind, path } of profile.requests) {
    http.get(bases[kind] + path, { tags: { kind } });
  }
  sleep(profile.pause_seconds);
}
