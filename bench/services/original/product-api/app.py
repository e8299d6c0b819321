"""The shop's product API as its first version was: Flask, by the contract of services/techcommerce/product-api. Products are in memory."""

from __future__ import annotations

import json
import os
from pathlib import Path

from flask import Flask, Response, jsonify, request

app = Flask(__name__)
app.json.sort_keys = False
PRODUCTS = sorted(json.loads(Path(os.environ["SEED"]).read_text()), key=lambda product: (product["name"], product["id"]))
BY_ID = {product["id"]: product for product in PRODUCTS}
CATEGORIES = sorted({product["category"] for product in PRODUCTS})


def problem(status: int, title: str, detail: str) -> Response:
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return Response(json.dumps(body), status, content_type="application/problem+json")


def number(name: str, default: int, most: int) -> int:
    value = int(request.args.get(name, default))
    if not 1 <= value <= most:
        raise ValueError(f"{name} must be 1 to {most}, not {value}")
    return value


@app.get("/health")
def health() -> Response:
    return jsonify(status="healthy")


@app.get("/products")
def products() -> Response:
    try:
        page, per_page = number("page", 1, 2**31), number("per_page", 20, 100)
    except ValueError as error:
        return problem(400, "Bad Request", str(error))
    words = request.args.get("q", "").lower().split()
    category = request.args.get("category")
    found = [product for product in PRODUCTS if category in (None, "", product["category"]) and matches(product, words)]
    data = found[(page - 1) * per_page : page * per_page]
    return jsonify(data=data, page=page, per_page=per_page, total=len(found), categories=CATEGORIES)


def matches(product: dict, words: list[str]) -> bool:
    text = f"{product['name']} {product['description']} {product['category']}".lower()
    return all(word in text for word in words)


@app.get("/products/<name>")
def product(name: str) -> Response:
    found = BY_ID.get(name)
    return jsonify(found) if found else problem(404, "Not Found", f"There is no product {name}")
