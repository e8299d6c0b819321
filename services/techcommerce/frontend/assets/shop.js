// What pages do better with a script. Without it, each form still works: it is sent, and the answer is a page.

const notice = document.getElementById("notice");

// Products go into the basket while the page stays.
document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (!form.matches("form.add")) return;
  event.preventDefault();
  const button = form.querySelector("button");
  button.setAttribute("aria-busy", "true");
  try {
    // Not `form.action`: a field has that name.
    const response = await fetch(form.getAttribute("action"), {
      method: "POST",
      headers: { accept: "application/json" },
      body: new URLSearchParams(new FormData(form)),
    });
    if (!response.ok) throw new Error(String(response.status));
    const { count, notice: text } = await response.json();
    document.getElementById("basket-count").textContent = count;
    notice.textContent = text;
  } catch {
    // The page that the server answers says what is wrong.
    form.submit();
  } finally {
    button.removeAttribute("aria-busy");
  }
});

// A search shows what it finds while people type.
const search = document.getElementById("search");
if (search) {
  let timer;
  let latest;
  const find = async () => {
    const url = `/?${new URLSearchParams(new FormData(search))}`;
    latest?.abort();
    latest = new AbortController();
    try {
      const response = await fetch(url, { signal: latest.signal });
      if (!response.ok) return;
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      document.getElementById("results").replaceWith(page.getElementById("results"));
      // The element stays, so that screen readers announce its new text.
      document.getElementById("found").textContent = page.getElementById("found").textContent;
      history.replaceState(null, "", url);
    } catch (error) {
      if (error.name !== "AbortError") search.submit();
    }
  };
  search.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(find, 200);
  });
  search.addEventListener("submit", (event) => {
    event.preventDefault();
    clearTimeout(timer);
    find();
  });
}

// A new quantity counts at once.
for (const input of document.querySelectorAll(".quantity input[type=number]")) {
  input.addEventListener("change", () => input.form.requestSubmit());
}
