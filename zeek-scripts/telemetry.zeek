##! Counters and gauges for Zeek's telemetry. They are filled in when somebody asks.

@load base/frameworks/telemetry
@load ./agents
@load ./outcomes

module MMTT;

global windows_family = Telemetry::register_counter_family(
    Telemetry::MetricOpts($prefix="mmtt", $name="windows", $unit="",
    $label_names=vector("status"),
    $help_text="Windows by what became of them"));

global submitted_family = Telemetry::register_counter_family(
    Telemetry::MetricOpts($prefix="mmtt", $name="submitted_windows", $unit="",
    $help_text="Windows sent to agents"));

global refused_family = Telemetry::register_counter_family(
    Telemetry::MetricOpts($prefix="mmtt", $name="refused_verdicts", $unit="",
    $help_text="Verdicts that can't be"));

global ignored_family = Telemetry::register_counter_family(
    Telemetry::MetricOpts($prefix="mmtt", $name="ignored_answers", $unit="",
    $help_text="Answers that came late or twice"));

global tries_shed_family = Telemetry::register_counter_family(
    Telemetry::MetricOpts($prefix="mmtt", $name="shed_tries", $unit="", $help_text="Connections without a verdict that agents were not told of, as there were too many"));

global incidents_family = Telemetry::register_counter_family(
    Telemetry::MetricOpts($prefix="mmtt", $name="incidents", $unit="",
    $label_names=vector("state"), $help_text="Rows of mmtt_incidents.log by state; refused: incidents that can't be"));

global held_back_family = Telemetry::register_counter_family(
    Telemetry::MetricOpts($prefix="mmtt", $name="held_back_incidents", $unit="",
    $help_text="Incidents without a notice, as there were too many in a day"));

global nameless_family = Telemetry::register_counter_family(
    Telemetry::MetricOpts($prefix="mmtt", $name="nameless_hosts", $unit="", $help_text="Hosts of incidents that could not be turned back into addresses"));

global in_flight_family = Telemetry::register_gauge_family(
    Telemetry::MetricOpts($prefix="mmtt", $name="outstanding_windows", $unit="",
    $help_text="Windows that wait for their verdict"));

global agents_family = Telemetry::register_gauge_family(Telemetry::MetricOpts(
    $prefix="mmtt", $name="agents", $unit="", $help_text="Agents in use"));

hook Telemetry::sync()
	{
	local none: vector of string = vector();
	local by_status = table(["ok"] = counts$ok, ["too_short"] = counts$too_short, [
	    "shed"] = counts$shed, ["timeout"] = counts$timed_out, ["no_agent"] =
	    counts$no_agent);

	for ( status, n in by_status )
		Telemetry::counter_family_set(windows_family, vector(status), n + 0.0);

	local by_state = table(["opened"] = counts$incidents_opened, ["grown"] =
	    counts$incidents_grown, ["closed"] = counts$incidents_closed, [
	    "refused"] = counts$incidents_refused);

	for ( state_of, m in by_state )
		Telemetry::counter_family_set(incidents_family, vector(state_of), m + 0.0);

	Telemetry::counter_family_set(tries_shed_family, none, counts$tries_shed +
	    0.0);
	Telemetry::counter_family_set(held_back_family, none,
	    counts$incidents_held_back + 0.0);
	Telemetry::counter_family_set(nameless_family, none, counts$incidents_nameless +
	    0.0);
	Telemetry::counter_family_set(submitted_family, none, counts$submitted + 0.0);
	Telemetry::counter_family_set(refused_family, none, counts$refused + 0.0);
	Telemetry::counter_family_set(ignored_family, none, counts$ignored + 0.0);
	Telemetry::gauge_family_set(in_flight_family, none, outstanding + 0.0);
	Telemetry::gauge_family_set(agents_family, none, |agents| + 0.0);
	}
