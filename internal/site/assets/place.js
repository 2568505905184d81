// The server's address as the browser sees it. Behind a reverse proxy it may be below a path, such as /realtime/.

/** The URL of the server's page, which ends with a slash. All other addresses are relative to it. */
export const home = new URL("../", import.meta.url)

/** The path of the default instance's socket, for phoenix.js. The server writes its option path into the page. */
export const socketPath = home.pathname.slice(0, -1) + (document.documentElement.dataset.socket ?? "")
