*** Settings ***
Documentation       C3: what the meter does by itself. The bench's load draws the power, the analyzer sees trips and re-closes, a
...                 relay presses the meter's button, the display device says what it shows.
Library             ../../keywords/prepayment_meter.py
Library             ../../keywords/prepayment_head_end.py
Library             ../../keywords/prepayment_meter_data.py
Library             ../../keywords/prepayment_customer_service.py
Library             ../../keywords/prepayment_display.py
Library             ../../keywords/prepayment_limits.py
Library             ../../keywords/prepayment_meter_by_itself.py
Test Setup          The Site Is Provisioned
Test Teardown       What Was Configured Is Taken Back


*** Variables ***
@{STEPS}            ${90}    ${75}    ${50}


*** Test Cases ***
The Meter Connects Disconnects And Limits On Command Or By Stored Rules
    [Tags]    C3-FR-04
    Remote Command Switches The Service
    Stored Commands Switch The Service    1 minute
    Stored Command Disconnects At Zero

The Meter Limits Demand On Command Or By Stored Rules
    [Tags]    C3-FR-06
    Remote Command Limits The Service
    Stored Command Limits The Service    30 seconds
    Stored Command Limits At Zero

The Meter Stores Several Events And Alerts When They Overlap
    [Tags]    C3-FR-18
    Meter Stores Several Events    3
    Meter Keeps The First Of Overlapping Events And Alerts

The Meter Limits In Several Steps
    [Tags]    C3-FR-21
    Each Step Is Held    ${STEPS}    4

The Meter Recloses Exactly Once After A Trip
    [Tags]    C3-FR-22
    Meter Trips And Recloses By Itself

The Customer Recloses By Hand And The Limit Holds
    [Tags]    C3-FR-23
    Customer Recloses By Hand After A Trip

Billing Converts At The End Of An Interval
    [Tags]    C3-FR-28
    Billing Converts Without Interruption    prepaid
    Billing Converts Without Interruption    regular

Texts Are Shown In English And Spanish
    [Tags]    C3-FR-29
    The Display Has Joined    1 minute
    Text Is Shown In The Customers Language    english    2    Your prepaid balance is low. Please pay soon.
    Text Is Shown In The Customers Language    spanish    2    Su saldo de prepago es bajo. Pague pronto, por favor.
    Text Is Shown In The Customers Language    spanish    4
    ...    Su servicio está limitado. Apague aparatos si se interrumpe.
    Text Is Shown As It Was Sent    ¡Mañana habrá un corte breve! ¿Dudas? Llámenos.
    Zero Is Told In The Customers Language    english
    ...    Your prepaid balance has reached zero. Please pay to keep your service.
    Zero Is Told In The Customers Language    spanish
    ...    Su saldo de prepago ha llegado a cero. Pague para conservar el servicio.

The Meter Prioritises Messages As The Utility Configures
    [Tags]    C3-NFR-05
    Configured Priority Goes Before Arrival

Price And Cost Are Shown In Real Time
    [Tags]    C3-NR-05
    The Display Has Joined    1 minute
    Price And Cost Follow At Once    ${18250}
    Price And Cost Follow At Once    ${26100}

Time And Money Left Show Wherever They Are Worked Out
    [Tags]    C3-NR-06
    The Customer Has Prepaid    4200
    Money And Time Left Show As They Were Sent
    Meter Works Out The Balance    4

Meters Without A Switch Are What They Declare
    [Tags]    C3-AS-02
    Meter Has The Switch That It Declares
