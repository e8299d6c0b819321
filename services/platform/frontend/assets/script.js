// Asks the backend again without loading the page. Without this script, the link loads the page.
const state = document.getElementById("state");

async function refresh() {
  state.textContent = "Asking the backend …";
  try {
    const response = await fetch("api/data", { signal: AbortSignal.timeout(5000) });
    if (!response.ok) throw new Error(`status ${response.status}`);
    const data = await response.json();
    for (const element of document.querySelectorAll("[data-member]")) {
      element.textContent = String(data[element.dataset.member] ?? "");
    }
    state.textContent = "The backend has answered.";
  } catch (error) {
    state.textContent = `The backend does not answer: ${error.message}`;
  }
}

document.getElementById("refresh").addEventListener("click", (event) => {
  event.preventDefault();
  refresh();
});
