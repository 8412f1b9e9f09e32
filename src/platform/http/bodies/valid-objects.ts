import { getMetadataStorage, ValidationTypes } from 'class-validator';

type ValidationMetadata = ReturnType<ReturnType<typeof getMetadataStorage>['getTargetValidationMetadatas']>[number];
type Check = (object: object, value: unknown) => boolean;

interface Property {
  name: string;
  /** All must hold, or the property is not checked. */
  conditions: Check[];
  checks: Check[];
}

const plans = new WeakMap<object, Map<string, Property> | null>();

/**
 * Whether class-validator would find nothing wrong with an object. It collects the rules of a class for each object anew,
 * so they are collected once here. False where it may find something, and where a rule is nested or asynchronous.
 */
export function isSurelyValid(object: object): boolean {
  const plan = planOf(object.constructor);
  if (plan === null) return false;
  for (const name of Object.keys(object)) if (!plan.has(name)) return false;
  for (const { name, conditions, checks } of plan.values()) {
    const value = (object as Record<string, unknown>)[name];
    const isChecked = conditions.every((condition) => condition(object, value));
    if (isChecked && !checks.every((check) => check(object, value))) return false;
  }
  return true;
}

/** False for a class without rules, and for one with rules that only class-validator can check. */
export function hasRules(type: Function): boolean {
  return planOf(type) !== null;
}

function planOf(type: Function): Map<string, Property> | null {
  let plan = plans.get(type);
  if (plan === undefined) plans.set(type, (plan = makePlan(type)));
  return plan;
}

function makePlan(type: Function): Map<string, Property> | null {
  const rules = getMetadataStorage().getTargetValidationMetadatas(type, '', false, false);
  const plan = new Map<string, Property>();
  for (const rule of rules) {
    const property = plan.get(rule.propertyName) ?? { name: rule.propertyName, conditions: [], checks: [] };
    plan.set(rule.propertyName, property);
    if (rule.type === ValidationTypes.CONDITIONAL_VALIDATION) property.conditions.push(rule.constraints[0] as Check);
    else if (rule.type === ValidationTypes.CUSTOM_VALIDATION || rule.type === ValidationTypes.IS_DEFINED)
      property.checks.push(checkOf(rule));
    else if (rule.type !== ValidationTypes.WHITELIST) return null;
  }
  return rules.length === 0 ? null : plan;
}

function checkOf(rule: ValidationMetadata): Check {
  const constraints = getMetadataStorage().getTargetValidatorConstraints(rule.constraintCls);
  const { propertyName: property, constraints: given, each } = rule;
  return (object, value) => {
    if (rule.validateIf?.(object, value) === false) return true;
    const details = { targetName: object.constructor.name, property, object, value, constraints: given };
    const isMany = each && (Array.isArray(value) || value instanceof Set || value instanceof Map);
    const values: unknown[] = isMany ? [...value.values()] : [value];
    // A promise is not true: class-validator decides.
    return constraints.every(({ instance }) => values.every((one) => instance.validate(one, details) === true));
  };
}
