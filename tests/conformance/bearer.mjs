// The suite cannot send a header of its own, so this adds one to every request that its process makes.
// Loaded by `node --import`; both channels are documented by Node and undici.
import { subscribe } from "node:diagnostics_channel";

const authorization = process.env.CONFORMANCE_AUTHORIZATION;

if (authorization) {
  subscribe("undici:request:create", ({ request }) => request.addHeader("authorization", authorization));
  subscribe("http.client.request.created", ({ request }) => request.setHeader("authorization", authorization));
}
