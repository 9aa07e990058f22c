// Runs before the first paint: sets the chosen theme, or the system's, on <html>.
(() => {
  const system = matchMedia("(prefers-color-scheme: dark)");

  function stored() {
    try {
      return localStorage.getItem("theme");
    } catch {
      return null; // storage may be forbidden; the system's theme then holds
    }
  }

  function apply() {
    const choice = stored();
    const chosen = choice === "light" || choice === "dark";
    const theme = chosen ? choice : system.matches ? "dark" : "light";
    document.documentElement.dataset.bsTheme = theme;
  }

  apply();
  system.addEventListener("change", apply);
  // Another tab, or the switch in the footer, changed the choice.
  addEventListener("storage", apply);
  addEventListener("themechange", apply);
})();
