// A projection with questions, for the tests that call a component.

import { projection, readModel, ReadModelError } from "@tidemill/sdk";

interface Thing {
  id: string;
  kind: string;
}

export default projection<Thing>(
  (event) => {
    if (event.kind === "Removed") return readModel.delete("things", event.data.id);
    readModel.put("things", event.data.id, event.data);
  },
  {
    count: ({ kind }: { kind: string }) => [...readModel.find("things", "kind", kind)].length,
    get: ({ id }: { id: string }) => readModel.get("things", id) ?? "none",
    missing: () => {
      try {
        readModel.get("missing", "x");
      } catch (error) {
        return error instanceof ReadModelError && [error.code, error.message];
      }
    },
  },
);
