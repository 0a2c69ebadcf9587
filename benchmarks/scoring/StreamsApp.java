import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.PropertyNamingStrategies;
import com.sun.management.OperatingSystemMXBean;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.management.ManagementFactory;
import java.time.Instant;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.processor.api.FixedKeyProcessor;
import org.apache.kafka.streams.processor.api.FixedKeyProcessorContext;
import org.apache.kafka.streams.processor.api.FixedKeyRecord;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/**
 * A peer: the job (job.py) in Kafka Streams, exactly once, with cached state stores and their changelogs.
 *
 * <p>{@code StreamsApp BROKER TOPIC GROUP STATE_DIR COUNT SKIP PASSES}: handles the COUNT records of the topic PASSES times over, each time as a new
 * application, so that all is compiled when it counts; prints the CPU seconds that the last pass took after its first SKIP records, and COUNT.
 */
public final class StreamsApp {
    static final ObjectMapper MAPPER = new ObjectMapper()
            .setPropertyNamingStrategy(PropertyNamingStrategies.SNAKE_CASE)
            .configure(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES, false);
    static final OperatingSystemMXBean SYSTEM = (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
    static final int KEPT_DAYS = 119;

    record Event(String event) {}

    record Call(String account, String user, String source, String occurredAt, Event call) {}

    record Change(String account, String from, String to) {}

    public static final class Account {
        public String band;
        public TreeMap<Long, Map<String, Integer>> days = new TreeMap<>();

        long count(Call call) {
            long day = Math.floorDiv(Instant.parse(call.occurredAt()).getEpochSecond(), 86_400);
            Map<String, Integer> counts = days.computeIfAbsent(day, none -> new HashMap<>());
            for (String signal : List.of("use", "feature_used:" + call.call().event(), "@" + call.source())) {
                counts.merge(signal, 1, Integer::sum);
            }
            days.headMap(day - KEPT_DAYS, true).clear();
            return day;
        }

        String bandOn(long today) {
            long silence = 91, recent = 0;
            for (Map.Entry<Long, Map<String, Integer>> entry : days.entrySet()) {
                if (entry.getValue().getOrDefault("use", 0) > 0) {
                    silence = today - entry.getKey();
                    recent += today - entry.getKey() < 28 ? 1 : 0;
                }
            }
            long score = Math.max(0, 5000 - 55 * silence) + 5000 * recent / 28;
            return score >= 6000 ? "green" : score >= 3000 ? "yellow" : "red";
        }
    }

    /** Counts what it handles, to know when a pass is over and what it took. */
    static final class Pass {
        final CountDownLatch over = new CountDownLatch(1);
        final int count, skip;
        int handled;
        long began, ended;

        Pass(int count, int skip) {
            this.count = count;
            this.skip = skip;
        }

        void handled() {
            handled++;
            if (handled == skip) {
                began = SYSTEM.getProcessCpuTime();
            } else if (handled == count) {
                ended = SYSTEM.getProcessCpuTime();
                over.countDown();
            }
        }
    }

    static final class Score implements FixedKeyProcessor<String, Call, Change> {
        private final Pass pass;
        private FixedKeyProcessorContext<String, Change> context;
        private KeyValueStore<String, Account> accounts;
        private KeyValueStore<String, Integer> users;

        Score(Pass pass) {
            this.pass = pass;
        }

        @Override
        public void init(FixedKeyProcessorContext<String, Change> context) {
            this.context = context;
            accounts = context.getStateStore("accounts");
            users = context.getStateStore("users");
        }

        @Override
        public void process(FixedKeyRecord<String, Call> record) {
            Call call = record.value();
            Account account = accounts.get(call.account());
            if (account == null) {
                account = new Account();
            }
            long day = account.count(call);
            String user = call.account() + ":" + call.user() + ":" + day / 28, before = account.band;
            Integer mask = users.get(user);
            int seen = (mask == null ? 0 : mask) | 1 << day % 28;
            if (mask == null || seen != mask) {
                users.put(user, seen);
            }
            account.band = account.bandOn(day);
            accounts.put(call.account(), account);
            if (!account.band.equals(before)) {
                context.forward(record.withValue(new Change(call.account(), before, account.band)));
            }
            pass.handled();
        }
    }

    static <T> Serde<T> json(Class<T> type) {
        var reader = MAPPER.readerFor(type);
        var writer = MAPPER.writerFor(type);
        return Serdes.serdeFrom(
                (topic, value) -> {
                    try {
                        return value == null ? null : writer.writeValueAsBytes(value);
                    } catch (IOException error) {
                        throw new UncheckedIOException(error);
                    }
                },
                (topic, bytes) -> {
                    try {
                        return bytes == null ? null : reader.readValue(bytes);
                    } catch (IOException error) {
                        throw new UncheckedIOException(error);
                    }
                });
    }

    static double run(Properties settings, String topic, Pass pass) throws Exception {
        String changes = settings.getProperty("application.id") + "-changes";
        try (Admin admin = Admin.create(settings)) {
            admin.createTopics(List.of(new NewTopic(changes, 8, (short) 1))).all().get();
        }
        StreamsBuilder builder = new StreamsBuilder();
        builder.addStateStore(Stores.keyValueStoreBuilder(
                Stores.persistentKeyValueStore("accounts"), Serdes.String(), json(Account.class)).withCachingEnabled());
        builder.addStateStore(Stores.keyValueStoreBuilder(
                Stores.persistentKeyValueStore("users"), Serdes.String(), Serdes.Integer()).withCachingEnabled());
        builder.stream(topic, Consumed.with(Serdes.String(), json(Call.class)))
                .processValues(() -> new Score(pass), "accounts", "users")
                .to(changes, Produced.with(Serdes.String(), json(Change.class)));
        try (KafkaStreams streams = new KafkaStreams(builder.build(), settings)) {
            streams.start();
            pass.over.await();
        }
        return (pass.ended - pass.began) / 1e9;
    }

    public static void main(String[] args) throws Exception {
        double seconds = 0;
        for (int pass = 0; pass < Integer.parseInt(args[6]); pass++) {
            Properties settings = new Properties();
            settings.putAll(Map.of(
                    "bootstrap.servers", args[0],
                    "application.id", args[2] + "-" + pass,
                    "state.dir", args[3],
                    "processing.guarantee", "exactly_once_v2",
                    "auto.offset.reset", "earliest",
                    "statestore.cache.max.bytes", "67108864",
                    "producer.compression.type", "lz4"));
            seconds = run(settings, args[1], new Pass(Integer.parseInt(args[4]), Integer.parseInt(args[5])));
        }
        System.out.println(seconds + " " + args[4]);
    }
}
