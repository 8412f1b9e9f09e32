# syntax=docker/dockerfile:1
# Pin it in your pipeline: --build-arg NODE_IMAGE=node:24-slim@sha256:…, with the digest that your registry shows.
ARG NODE_IMAGE=node:24-slim
FROM ${NODE_IMAGE} AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY nest-cli.json tsconfig.json tsconfig.build.json ./
COPY src src
RUN npm run build

FROM ${NODE_IMAGE} AS dependencies
WORKDIR /app
COPY package.json package-lock.json ./
# Without the embedded PostgreSQL: it is optional, and production brings its own.
RUN npm ci --omit=dev --omit=optional --ignore-scripts --no-audit --no-fund && npm cache clean --force

FROM ${NODE_IMAGE}
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="Tenantry" \
  org.opencontainers.image.description="A backend for B2B SaaS: users, organizations, sessions, subscriptions and metered usage" \
  org.opencontainers.image.version="${VERSION}" \
  org.opencontainers.image.licenses="UNLICENSED"
ENV NODE_ENV=production
WORKDIR /app
COPY --from=dependencies /app/node_modules node_modules
COPY --from=build /app/dist dist
COPY drizzle drizzle
COPY package.json plans.json ./
USER node
EXPOSE 3000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT || 3000}/health/live`).then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
# Node itself, not npm: SIGTERM must reach it.
# The options of npm run start:prod, which bound the heap: docs/decisions/0064-bounded-heap.md.
CMD ["node", "--max-semi-space-size=16", "--initial-old-space-size=96", "--heap-growing-percent=75", "dist/main.js"]
