"""Webhooks are told of configuration files that wait for a person, too."""

_NOW = "(julianday('now') - 2440587.5) * 86400.0"

STEP: tuple[str, ...] = (
    # By the first machine that waits, and not by each that comes after it.
    f"""CREATE TRIGGER merge_is_told AFTER UPDATE OF waiting ON merge_question
        WHEN OLD.waiting = 0 AND NEW.waiting > 0 AND NOT EXISTS (
            SELECT 1 FROM merge_decision WHERE question = NEW.id AND ended IS NULL
        ) BEGIN
            INSERT INTO happening VALUES ('question.waits', NEW.path, NEW.why, {_NOW});
        END""",
    f"""CREATE TRIGGER merge_refusal_is_told AFTER UPDATE OF ended ON merge_decision
        WHEN NEW.ended = 'refused' AND OLD.ended IS NULL
        BEGIN
            INSERT INTO happening
            SELECT 'question.waits', path, NEW.ended_why, {_NOW} FROM merge_question WHERE id = NEW.question;
        END""",
)
