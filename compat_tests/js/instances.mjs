// Instances, by the server's HTTP API.

/** Creates an instance and returns what the API says of it. */
export async function createInstance(server, spec) {
  const response = await fetch(`${server.http}/api/instances`, {
    method: "POST",
    headers: await server.headers({"Content-Type": "application/json"}),
    body: JSON.stringify(spec),
  })
  const answer = await response.json()
  if (response.status !== 201) throw new Error(`creating ${JSON.stringify(spec)}: ${response.status} ${JSON.stringify(answer)}`)
  return answer
}
