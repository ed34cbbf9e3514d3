import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    globalSetup: "test/support/setup.ts",
    testTimeout: 20_000,
    /* The machine may be small; each file starts servers of its own. */
    maxWorkers: 2,
  },
});
