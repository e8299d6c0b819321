// The shop's page as its first version was: Node, which asks the product API for each page and renders it.
const http = require("node:http");

const agent = new http.Agent({ keepAlive: true });
const escape = (text) => String(text).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
const price = ({ amount, currency }) => `${(amount / 100).toFixed(2)} ${currency}`;

const ask = (path) =>
  new Promise((resolve, reject) => {
    http
      .get(process.env.PRODUCT_API + path, { agent }, (response) => {
        let text = "";
        response.setEncoding("utf8");
        response.on("data", (chunk) => (text += chunk));
        response.on("end", () => resolve(JSON.parse(text)));
      })
      .on("error", reject);
  });

const page = ({ data, categories, total }) => `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>TechCommerce</title><meta name="viewport" content="width=device-width"></head>
<body><header><h1>TechCommerce</h1><form role="search"><label>Search <input name="q" type="search"></label><button>Search</button></form>
<nav>${categories.map((name) => `<a href="/?category=${escape(name)}">${escape(name)}</a>`).join(" ")}</nav></header>
<main><p>${total} products</p><ul>
${data
  .map(
    (product) => `<li><article><h2><a href="/products/${escape(product.id)}">${escape(product.name)}</a></h2>
<p>${escape(product.description)}</p><p>${price(product.price)} · ${product.stock} in stock</p>
<form method="post" action="/basket"><input type="hidden" name="product" value="${escape(product.id)}"><button>Add to basket</button></form></article></li>`,
  )
  .join("\n")}
</ul></main></body></html>`;

http
  .createServer(async (request, response) => {
    if (request.url === "/health") return response.end('{"status":"healthy"}');
    try {
      const body = page(await ask("/products"));
      return response.writeHead(200, { "content-type": "text/html; charset=utf-8", "content-length": Buffer.byteLength(body) }).end(body);
    } catch (error) {
      return response.writeHead(502, { "content-type": "text/plain" }).end(String(error));
    }
  })
  .listen(Number(process.env.PORT), "127.0.0.1");
