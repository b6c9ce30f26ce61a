// The floor: the least that a Worker in front of an upstream can do. Nothing is looked at, nothing is kept.
export default {
  fetch(request, env) {
    return fetch(env.UPSTREAM, { method: request.method, headers: request.headers, body: request.body });
  },
};
