//! The pages. `maud` escapes all values.

use jiff::Timestamp;
use jiff::tz::Offset;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use shop_model::{
    Line, MAX_QUANTITY, Money, Order, OrderLine, OrderPage, OrderStatus, PricedLine, Product, ProductPage,
};

use crate::api::escape;
use crate::assets;

/// What each page has around its content.
pub(crate) struct Frame<'a> {
    pub(crate) title: &'a str,
    /// Items in the basket.
    pub(crate) count: u32,
    /// A message to the visitor, such as an error of the form that was sent.
    pub(crate) notice: Option<&'a str>,
}

/// A product in the basket.
pub(crate) struct BasketLine {
    pub(crate) product: Product,
    pub(crate) line: Line,
}

impl BasketLine {
    fn total(&self) -> Option<Money> {
        self.product.price.times(self.line.quantity.get())
    }

    /// The line as it would be ordered now.
    fn priced(&self) -> PricedLine {
        let Line { product, quantity } = self.line.clone();
        let (name, unit_price) = (self.product.name.clone(), self.product.price);
        PricedLine { product, name, quantity, unit_price }
    }
}

/// The whole document.
pub(crate) fn frame(frame: &Frame<'_>, content: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (frame.title) " – TechCommerce" }
                link rel="stylesheet" href=(assets::path("shop.css"));
                link rel="icon" type="image/svg+xml" href=(assets::path("icon.svg"));
                script type="module" src=(assets::path("shop.js")) {}
            }
            body {
                a.skip href="#content" { "Skip to the content" }
                header.top {
                    a.brand href="/" { "TechCommerce" }
                    nav aria-label="Shop" {
                        a href="/" { "Products" }
                        a href="/my-orders" { "My orders" }
                        a.basket-link href="/basket" { "Basket (" span #basket-count { (frame.count) } ")" }
                    }
                }
                main #content tabindex="-1" {
                    p #notice .notice role="status" { @if let Some(notice) = frame.notice { (notice) } }
                    (content)
                }
                footer { p { "A sample shop: nothing is charged and nothing is sent." } }
            }
        }
    }
}

/// What a visitor searches for.
pub(crate) struct Search<'a> {
    pub(crate) query: &'a str,
    pub(crate) category: &'a str,
}

/// The products that a search has found.
pub(crate) fn catalogue(search: &Search<'_>, found: &ProductPage) -> Markup {
    let pages = found.total.div_ceil(found.per_page.max(1)).max(1);
    let link =
        |page: u32| format!("/?q={}&category={}&page={page}", escape(search.query), escape(search.category));
    html! {
        h1 { "Products" }
        form #search .search role="search" action="/" method="get" {
            div {
                label for="q" { "Search" }
                input #q type="search" name="q" maxlength="100" value=(search.query) autocomplete="off";
            }
            div {
                label for="category" { "Category" }
                select #category name="category" {
                    option value="" { "All" }
                    @for category in &found.categories {
                        option value=(category) selected[category == search.category] { (capital(category)) }
                    }
                }
            }
            button type="submit" { "Search" }
        }
        p #found role="status" { (found.total) @if found.total == 1 { " product" } @else { " products" } }
        div #results {
            ul.products {
                @for product in &found.data { li { (card(product)) } }
            }
            @if pages > 1 {
                nav.pages aria-label="Pages" {
                    @if found.page > 1 { a rel="prev" href=(link(found.page - 1)) { "Previous page" } }
                    span { "Page " (found.page) " of " (pages) }
                    @if found.page < pages { a rel="next" href=(link(found.page.saturating_add(1))) { "Next page" } }
                }
            }
        }
    }
}

fn card(product: &Product) -> Markup {
    html! {
        article.card {
            (picture(&product.category))
            h2 { a href={ "/product/" (product.id) } { (product.name) } }
            p.category { (capital(&product.category)) }
            p.price { (product.price) }
            (stock(product.stock))
            (add_form(product))
        }
    }
}

fn add_form(product: &Product) -> Markup {
    html! {
        form.add action="/basket" method="post" {
            input type="hidden" name="product" value=(product.id);
            input type="hidden" name="action" value="add";
            input type="hidden" name="quantity" value="1";
            button type="submit" disabled[product.stock == 0] {
                "Add to basket" span.hidden { " " (product.name) }
            }
        }
    }
}

fn stock(free: u32) -> Markup {
    html! {
        @match free {
            0 => p.stock.none { "Sold out" },
            1..=5 => p.stock.few { "Only " (free) " left" },
            _ => p.stock { "In stock" },
        }
    }
}

/// One product.
pub(crate) fn product(product: &Product) -> Markup {
    html! {
        article.product {
            (picture(&product.category))
            div {
                h1 { (product.name) }
                p.category { a href={ "/?category=" (escape(&product.category)) } { (capital(&product.category)) } }
                p { (product.description) }
                p.price { (product.price) }
                (stock(product.stock))
                (add_form(product))
            }
        }
    }
}

/// The basket, in which quantities can be changed.
pub(crate) fn basket(lines: &[BasketLine]) -> Markup {
    html! {
        h1 { "Basket" }
        @if lines.is_empty() {
            p { "The basket is empty. " a href="/" { "Look at the products" } "." }
        } @else {
            ul.lines {
                @for line in lines {
                    li {
                        span.name { a href={ "/product/" (line.product.id) } { (line.product.name) } }
                        form.quantity action="/basket" method="post" {
                            input type="hidden" name="product" value=(line.product.id);
                            input type="hidden" name="action" value="set";
                            label for={ "quantity-" (line.product.id) } {
                                "Quantity" span.hidden { " of " (line.product.name) }
                            }
                            input id={ "quantity-" (line.product.id) } type="number" name="quantity" min="1"
                                max=(MAX_QUANTITY) required value=(line.line.quantity.get());
                            button type="submit" { "Update" span.hidden { " " (line.product.name) } }
                        }
                        form action="/basket" method="post" {
                            input type="hidden" name="product" value=(line.product.id);
                            input type="hidden" name="action" value="set";
                            input type="hidden" name="quantity" value="0";
                            button.plain type="submit" { "Remove" span.hidden { " " (line.product.name) } }
                        }
                        span.sum { @if let Some(total) = line.total() { (total) } }
                        @if line.product.stock < line.line.quantity.get() {
                            p.stock.few { "Only " (line.product.stock) " in stock" }
                        }
                    }
                }
            }
            (sum(lines))
            p { a.button href="/checkout" { "Continue to the order" } }
        }
    }
}

fn sum(lines: &[BasketLine]) -> Markup {
    let lines: Vec<_> = lines.iter().map(BasketLine::priced).collect();
    html! {
        p.total {
            @match shop_model::total(&lines) {
                Some(total) => { "Total: " strong { (total) } },
                None => "These products cannot be ordered together: their prices are in different currencies.",
            }
        }
    }
}

/// The form that places an order. `key` makes a form that is sent twice one order.
pub(crate) fn checkout(lines: &[BasketLine], key: &str) -> Markup {
    html! {
        h1 { "Your order" }
        ul.lines {
            @for line in lines {
                li {
                    span.name { (line.line.quantity.get()) " × " (line.product.name) }
                    span.sum { @if let Some(total) = line.total() { (total) } }
                }
            }
        }
        (sum(lines))
        form action="/checkout" method="post" {
            input type="hidden" name="key" value=(key);
            @for line in lines {
                input type="hidden" name="line" value={ (line.product.id) ":" (line.line.quantity.get()) };
            }
            p.check {
                input #agree type="checkbox" name="agree" value="yes" required;
                label for="agree" { "I order these items at the price shown" }
            }
            button type="submit" { "Place the order" }
            " " a href="/basket" { "Change the basket" }
        }
    }
}

/// An order and its status.
pub(crate) fn order(order: &Order) -> Markup {
    html! {
        h1 { "Order " span.id { (short(order)) } }
        p.status {
            "Status: " strong { (status(order.status)) }
            @match order.status {
                OrderStatus::Confirmed => ". The items are yours.",
                OrderStatus::Pending => ". It is being placed: look again in a moment.",
                OrderStatus::Refused => ". There were not enough items.",
            }
        }
        p { "Ordered on " (date(order.created)) }
        ul.lines {
            @for line in &order.lines {
                li {
                    @match line {
                        OrderLine::Priced(line) => {
                            span.name {
                                (line.quantity.get()) " × " a href={ "/product/" (line.product) } { (line.name) }
                            }
                            span.sum {
                                @if let Some(total) = line.unit_price.times(line.quantity.get()) { (total) }
                            }
                        },
                        OrderLine::Plain(line) => {
                            span.name {
                                (line.quantity.get()) " × " a href={ "/product/" (line.product) } { (line.product) }
                            }
                        },
                    }
                }
            }
        }
        @if let Some(total) = order.total { p.total { "Total: " strong { (total) } } }
        p { a href="/my-orders" { "All my orders" } }
    }
}

/// A customer's orders.
pub(crate) fn orders(orders: &OrderPage) -> Markup {
    html! {
        h1 { "My orders" }
        @if orders.data.is_empty() {
            p { "There are no orders in this browser yet. " a href="/" { "Look at the products" } "." }
        }
        ul.lines {
            @for order in &orders.data {
                li {
                    span.name { a href={ "/order/" (order.id) } { "Order " (short(order)) } ", " (date(order.created)) }
                    span { (status(order.status)) }
                    span.sum { @if let Some(total) = order.total { (total) } }
                }
            }
        }
        @if let Some(next) = orders.next { p { a href={ "/my-orders?page=" (next) } { "Older orders" } } }
    }
}

/// A page that only says something.
pub(crate) fn message(title: &str, text: &str) -> Markup {
    html! {
        h1 { (title) }
        p { (text) }
        p { a href="/" { "To the products" } }
    }
}

fn status(status: OrderStatus) -> &'static str {
    match status {
        OrderStatus::Pending => "Pending",
        OrderStatus::Confirmed => "Confirmed",
        OrderStatus::Refused => "Refused",
    }
}

fn short(order: &Order) -> &str {
    order.id.as_str().get(..8).unwrap_or_default()
}

fn capital(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map(|first| first.to_uppercase().chain(characters).collect()).unwrap_or_default()
}

/// The day in UTC (`2026-11-30`) of a time in milliseconds since the Unix epoch. Far beyond the calendar it is the last day.
fn date(milliseconds: u64) -> String {
    let time = i64::try_from(milliseconds).ok().and_then(|time| Timestamp::from_millisecond(time).ok());
    let date = Offset::UTC.to_datetime(time.unwrap_or(Timestamp::MAX)).date();
    format!("{:04}-{:02}-{:02}", date.year(), date.month(), date.day())
}

/// A drawing for the category.
fn picture(category: &str) -> Markup {
    let (class, path) = match category {
        "computers" => ("c1", "M6 10h36v22H6zM2 36h44l-3 4H5z"),
        "displays" => ("c2", "M4 8h40v24H4zM20 32h8v6h-8zM14 38h20v3H14z"),
        "input" => ("c3", "M4 16h40v18H4zM9 20h4v3H9zm7 0h4v3h-4zm7 0h4v3h-4zm7 0h4v3h-4zM14 27h20v3H14z"),
        "audio" => ("c4", "M8 26a16 16 0 0 1 32 0v12h-8V27h4a12 12 0 0 0-24 0h4v11H8z"),
        "connection" => ("c5", "M20 4h8v8h-3v10h10v8h3v10H28V30h3v-4H17v4h3v10H10V30h3v-8h10V12h-3z"),
        "storage" => ("c6", "M8 8h32v14H8zm0 18h32v14H8zm24-12h4v3h-4zm0 18h4v3h-4z"),
        _ => ("c7", "M24 6l16 9v18l-16 9-16-9V15zM12 18v13l10 6V24zm24 0l-10 6v13l10-6z"),
    };
    html! {
        div class={ "picture " (class) } {
            svg viewBox="0 0 48 48" aria-hidden="true" { (PreEscaped(format!("<path fill-rule=\"evenodd\" d=\"{path}\"/>"))) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_a_day_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01"),
            (951_782_399, "2000-02-28"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (1_796_083_199, "2026-11-30"),
            (4_102_444_800, "2100-01-01"),
        ] {
            assert_eq!(date(seconds * 1000), text);
        }
        assert_eq!(date(u64::MAX), "9999-12-30");
    }

    #[test]
    fn what_people_write_is_no_markup() {
        let found =
            ProductPage { data: vec![], page: 1, per_page: 12, total: 0, categories: vec!["a\"b".into()] };
        let search = Search { query: "\"><script>", category: "" };
        let page = catalogue(&search, &found).into_string();
        assert!(page.contains("value=\"&quot;&gt;&lt;script&gt;\""), "{page}");
        assert!(page.contains("value=\"a&quot;b\""), "{page}");
    }
}
