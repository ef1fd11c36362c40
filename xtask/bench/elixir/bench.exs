# What Elixir does of the rows, with what its standard library has: Supervisor, DynamicSupervisor, Registry, GenServer.
# `elixir bench.exs NAME` prints the numbers of a run in a line. Crashes are not logged.

Logger.configure(level: :none)
:logger.set_primary_config(:level, :none)

defmodule Tool do
  def name(n), do: String.pad_leading(String.downcase(Integer.to_string(n, 16)), 8, "0") <> "-7c1b-4e7e-9f0e-8d3a7c1b4e7e"

  def now, do: System.monotonic_time(:nanosecond)

  # Microseconds for each of those from `first` on, so many at a time, each on a process of the callers'.
  def each(first, count, in_flight, fun) do
    begun = now()

    1..in_flight
    |> Enum.map(fn caller ->
      Task.async(fn ->
        Enum.each((first + caller - 1)..(first + count - 1)//in_flight, fun)
      end)
    end)
    |> Task.await_many(:infinity)

    (now() - begun) / 1000 / count
  end

  def resident do
    [_, pages | _] = String.split(File.read!("/proc/self/statm"))
    String.to_integer(pages) * 4096
  end

  def sorted(times), do: times |> Enum.sort() |> List.to_tuple()
  def at(times, share), do: elem(times, trunc(tuple_size(times) * share))
end

defmodule Echo do
  use GenServer
  def start_link({id, child}), do: GenServer.start_link(__MODULE__, nil, name: {:via, Registry, {Names, {id, child}}})
  def init(_), do: {:ok, nil}
  def handle_call(number, _, state), do: {:reply, number, state}
end

defmodule Pod do
  use Supervisor, restart: :transient
  def start_link(id), do: Supervisor.start_link(__MODULE__, id, name: {:via, Registry, {Names, id}})

  def init(id) do
    children = for child <- [:state, :work, :sync, :ui], do: Supervisor.child_spec({Echo, {id, child}}, id: child)
    Supervisor.init(children, strategy: :one_for_one)
  end
end

defmodule Pods do
  def run do
    {:ok, _} = Registry.start_link(keys: :unique, name: Names, partitions: 2)
    {:ok, _} = PartitionSupervisor.start_link(child_spec: DynamicSupervisor, name: All, partitions: 2)
    before = Tool.resident()
    start = Tool.each(0, 10_000, 64, &start/1)
    bytes = (Tool.resident() - before) / 10_000
    alone = Tool.each(10_000, 2_000, 1, &start/1)
    two = Tool.each(12_000, 2_000, 2, &start/1)
    stop = Tool.each(0, 10_000, 64, &stop/1)
    stop_alone = Tool.each(10_000, 2_000, 1, &stop/1)
    stop_two = Tool.each(12_000, 2_000, 2, &stop/1)
    [start, alone, two, bytes, stop, stop_alone, stop_two]
  end

  defp start(n) do
    {:ok, _} = DynamicSupervisor.start_child({:via, PartitionSupervisor, {All, n}}, {Pod, Tool.name(n)})
  end

  defp stop(n) do
    [{pid, _}] = Registry.lookup(Names, Tool.name(n))
    # From the caller, which does not hold up the supervisor of all; the pod is transient, so it stays away.
    :ok = Supervisor.stop(pid)
  end
end

defmodule Child do
  use GenServer, restart: :permanent
  def start_link(arguments), do: GenServer.start_link(__MODULE__, arguments)

  def init({owner, table, key}) do
    ran = Tool.now()
    if owner, do: send(owner, {:ran, key, self(), ran})
    {:ok, {table, key}}
  end

  def handle_cast(how, {table, key} = state) do
    :ets.insert(table, {key, Tool.now()})

    case how do
      :stop -> {:stop, :told_to, state}
      :raise -> raise "told to"
    end
  end
end

defmodule Children do
  def start do
    supervisor = supervisor()
    table = :ets.new(:crashes, [:public])
    before = Tool.resident()
    child = fn n -> {:ok, _} = DynamicSupervisor.start_child(supervisor, {Child, {nil, table, n}}) end
    start = Tool.each(0, 50_000, 64, child)
    bytes = (Tool.resident() - before) / 50_000
    children = List.to_tuple(for {_, child, _, _} <- DynamicSupervisor.which_children(supervisor), do: child)
    alone = Tool.each(50_000, 5_000, 1, child)
    two = Tool.each(55_000, 5_000, 2, child)
    stop = Tool.each(0, 50_000, 64, fn n -> :ok = DynamicSupervisor.terminate_child(supervisor, elem(children, n)) end)
    [start, alone, two, bytes, stop]
  end

  def restarts do
    percentiles(restarts(:stop)) ++ percentiles(restarts(:raise)) ++ [storm()]
  end

  defp percentiles(times) do
    {half, most} = {Tool.at(times, 0.5), Tool.at(times, 0.99)}
    [half, most, most / half]
  end

  defp supervisor do
    {:ok, supervisor} =
      DynamicSupervisor.start_link(strategy: :one_for_one, max_restarts: 1_000_000_000, max_seconds: 1)

    supervisor
  end

  defp restarts(how) do
    supervisor = supervisor()
    table = :ets.new(:crashes, [:public])
    {:ok, _} = DynamicSupervisor.start_child(supervisor, {Child, {self(), table, 1}})
    pid = receive(do: ({:ran, _, pid, _} -> pid))

    {times, _} =
      Enum.map_reduce(1..2_000, pid, fn _, pid ->
        GenServer.cast(pid, how)
        {pid, ran} = receive(do: ({:ran, _, pid, ran} -> {pid, ran}))
        [{_, crashed}] = :ets.lookup(table, 1)
        {(ran - crashed) / 1000, pid}
      end)

    times |> Enum.drop(200) |> Tool.sorted()
  end

  # A supervisor for each hundred: one goes through all its restarts of the last second at each.
  defp storm do
    table = :ets.new(:crashes, [:public])

    for _ <- 1..100, supervisor = supervisor(), n <- 1..100 do
      {:ok, _} = DynamicSupervisor.start_child(supervisor, {Child, {self(), table, n}})
    end

    pids = for _ <- 1..10_000, do: receive(do: ({:ran, _, pid, _} -> pid))
    begun = Tool.now()
    Enum.each(pids, &GenServer.cast(&1, :raise))
    for _ <- 1..10_000, do: receive(do: ({:ran, _, _, _} -> :ok))
    (Tool.now() - begun) / 1.0e6
  end
end

defmodule Entries do
  @lookups 300_000

  def run(count) do
    {:ok, _} = Registry.start_link(keys: :unique, name: Names, partitions: 2)
    names = for n <- 0..(count - 1), do: Tool.name(n)
    Enum.each(names, fn name -> {:ok, _} = Registry.register(Names, name, 7) end)
    names = List.to_tuple(names)
    one = lookups(names, 1)
    two = lookups(names, 2)
    if count < 1_000, do: [one, two], else: [one, two | rest()]
  end

  defp lookups(names, threads) do
    count = tuple_size(names)
    begun = Tool.now()

    1..threads
    |> Enum.map(fn thread -> Task.async(fn -> lookup(names, count, thread * 17, @lookups) end) end)
    |> Task.await_many(:infinity)

    (Tool.now() - begun) / @lookups
  end

  defp lookup(_, _, _, 0), do: :ok

  defp lookup(names, count, at, left) do
    at = rem(at + 7_919, count)
    [{_, 7}] = Registry.lookup(Names, elem(names, at))
    lookup(names, count, at, left - 1)
  end

  defp rest do
    begun = Tool.now()

    for _ <- 1..5 do
      100_000 = length(Registry.select(Names, [{{:"$1", :_, :"$2"}, [], [{{:"$1", :"$2"}}]}]))
    end

    list = (Tool.now() - begun) / 1.0e6 / 5
    fresh = List.to_tuple(for n <- 0..999, do: Tool.name(10_000_000 + n))
    # By a process of its own: the registry looks through all names of a process when one is given back.
    cycle =
      Task.await(Task.async(fn ->
        begun = Tool.now()

        for n <- 1..100_000 do
          name = elem(fresh, rem(n, 1_000))
          {:ok, _} = Registry.register(Names, name, 7)
          :ok = Registry.unregister(Names, name)
        end

        (Tool.now() - begun) / 100_000
      end), :infinity)

    begun = Tool.now()
    for _ <- 1..10_000, do: 100_000 = Registry.count(Names)
    [list, cycle, (Tool.now() - begun) / 10_000, :cannot]
  end
end

numbers =
  case System.argv() do
    ["pods"] -> Pods.run()
    ["children"] -> Children.start()
    ["restarts"] -> Children.restarts()
    ["names-100"] -> Entries.run(100)
    ["names-100k"] -> Entries.run(100_000)
  end

IO.puts(Enum.map_join(numbers, " ", fn number -> if number == :cannot, do: "-", else: :erlang.float_to_binary(number / 1, decimals: 4) end))
