// Where the server is, as the browser sees it: behind a reverse proxy it may be below a path, such as /realtime/.

/** The URL of the server's page, with a slash at its end. Every other address is relative to it. */
export const home = new URL("../", import.meta.url)

/** The path of the default instance's socket, for phoenix.js. The page has it from the server, whose option path names it. */
export const socketPath = home.pathname.slice(0, -1) + (document.documentElement.dataset.socket ?? "")
