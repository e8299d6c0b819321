// The shop's order API as its first version was: Express, by the contract of services/techcommerce/order-api. Orders and stock are in memory.
const crypto = require("node:crypto");
const fs = require("node:fs");
const express = require("express");

const products = new Map(JSON.parse(fs.readFileSync(process.env.SEED, "utf8")).map((product) => [product.id, product]));
const orders = new Map();
const keys = new Map();
const app = express();
app.use(express.json({ limit: "64kb" }));

const problem = (response, status, title, detail) =>
  response.status(status).type("application/problem+json").send(JSON.stringify({ type: "about:blank", title, status, detail }));

app.get("/health", (_request, response) => response.json({ status: "healthy" }));

app.post("/orders", (request, response) => {
  const key = request.get("idempotency-key");
  if (!key) return problem(response, 400, "Bad Request", "the header Idempotency-Key is required");
  const body = JSON.stringify(request.body);
  const known = keys.get(key);
  if (known) {
    if (known.body !== body) return problem(response, 422, "Unprocessable Content", "the key was used for another order");
    return response.status(201).set("Idempotency-Replayed", "true").json(known.order);
  }
  const lines = request.body.lines.map(({ product, quantity }) => ({ quantity, product: products.get(product) }));
  if (lines.some((line) => !line.product)) return problem(response, 422, "Unprocessable Content", "there is no such product");
  if (lines.some((line) => line.product.stock < line.quantity)) return problem(response, 409, "Conflict", "there are not enough items");
  for (const line of lines) line.product.stock -= line.quantity;
  const total = lines.reduce((sum, line) => sum + line.product.price.amount * line.quantity, 0);
  const order = {
    id: crypto.randomBytes(16).toString("hex"),
    customer: request.body.customer,
    status: "confirmed",
    created: Date.now(),
    lines: lines.map((line) => ({
      product: line.product.id,
      quantity: line.quantity,
      name: line.product.name,
      unit_price: line.product.price,
    })),
    total: { amount: total, currency: lines[0].product.price.currency },
  };
  orders.set(order.id, order);
  keys.set(key, { body, order });
  return response.status(201).json(order);
});

app.get("/orders/:id", (request, response) => {
  const order = orders.get(request.params.id);
  return order ? response.json(order) : problem(response, 404, "Not Found", `there is no order ${request.params.id}`);
});

app.listen(Number(process.env.PORT), "127.0.0.1");
