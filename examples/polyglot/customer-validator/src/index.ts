// Checks a new customer against the shop's rules: e-mail, age, country.
//
// The shape of the data is the schema's business; here are only the rules that the business changes now and then, so they come from the
// configuration. All broken rules are reported, not just the first.

import { config, emit, handler, log } from "@tidemill/sdk";

interface Customer {
  customer_id: string;
  name: string;
  email: string;
  age: number;
  country: string;
}

interface Problem {
  field: keyof Customer;
  problem: string;
}

/** The configuration, with defaults for what is left out. */
interface Rules {
  minimumAge: number;
  countries: string[];
  blockedDomains: string[];
}

export default handler<Customer>((event) => {
  const { customer_id, name, email, country } = event.data;
  const problems = check(event.data, rules());
  if (problems.length === 0) {
    const data = { customer_id, name, email, country };
    emit({ to: "customers.validated", kind: "CustomerValidated", subject: customer_id, data });
  } else {
    log.info("refused a customer", { customer: customer_id, problems: problems.length });
    const data = { customer_id, email, reasons: problems };
    emit({ to: "customers.validation-failed", kind: "CustomerValidationFailed", subject: customer_id, data });
  }
});

function rules(): Rules {
  return {
    minimumAge: config.number("minimum_age", 18),
    countries: config.json("countries", []),
    blockedDomains: config.json("blocked_domains", []),
  };
}

function check({ email, age, country }: Customer, { minimumAge, countries, blockedDomains }: Rules): Problem[] {
  const problems: Problem[] = [];
  const domain = email.slice(email.lastIndexOf("@") + 1).toLowerCase();
  if (blockedDomains.includes(domain)) {
    problems.push({ field: "email", problem: `addresses at ${domain} are not accepted` });
  }
  if (age < minimumAge) {
    problems.push({ field: "age", problem: `must be at least ${minimumAge}, is ${age}` });
  }
  if (countries.length > 0 && !countries.includes(country)) {
    problems.push({ field: "country", problem: `the shop does not deliver to ${country}` });
  }
  return problems;
}
